from __future__ import annotations

import json
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipkv.cli.options.row_format import batch_line, format_of, parse, render, without_siblings
from gossipkv.client import Row, value_from_json, value_to_json
from gossipkv.client.tables.row import line_of, value_to_send

keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(row=keys, value=st.binary(), row_format=st.sampled_from(["ndjson", "tsv"]))
def test_a_row_that_is_rendered_is_one_line_and_parses_to_the_same(row: str, value: bytes, row_format: str) -> None:
    line = render(Row(row, value, "etag"), row_format)
    assert line.count(b"\n") == 1
    assert parse(line.removesuffix(b"\n").removesuffix(b"\r"), row_format) == (row, value)


@given(row=keys, value=st.binary())
def test_the_line_of_a_batch_says_the_same(row: str, value: bytes) -> None:
    assert parse(batch_line(row, value), "ndjson") == (row, value)


def test_escapes_of_tsv_stand_for_what_ends_fields_and_lines() -> None:
    assert parse(rb"a\tb" + b"\t" + rb"1\n2\r3\\n", "tsv") == ("a\tb", b"1\n2\r3\\n")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"row", "no tab"),
        (b"row\tvalue\tmore", "more than one tab"),
        (b"row\t\\x", "no escape"),
        (b"row\t\\", "no escape"),
        (b"\xff\tvalue", "not UTF-8"),
    ],
)
def test_a_line_that_is_no_tsv_says_why(line: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse(line, "tsv")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[]", 'not {"row"'),
        (b'{"row": "a"}', 'not {"row"'),
        (b'{"row": 1, "value": "a"}', 'not {"row"'),
        (b'{"row": "a", "value": 1}', "a value is text"),
        (b'{"row": "a", "value": {"base64": "?"}}', "not base64"),
        (b'{"row": "\\ud800", "value": ""}', "row key cannot be encoded"),
        (b'{"row": "a", "value": "\\ud800"}', "value cannot be encoded"),
    ],
)
def test_a_line_that_is_no_ndjson_says_why(line: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse(line, "ndjson")


def test_a_value_that_is_no_text_is_written_in_base64() -> None:
    assert json.loads(render(Row("a", b"\xff", "e"), "ndjson")) == {
        "row": "a",
        "value": {"base64": "/w=="},
        "etag": "e",
    }


@pytest.mark.parametrize(
    ("name", "first_line", "expected"),
    [
        ("a.tsv", b"{", "tsv"),
        ("a.ndjson", b"a\tb", "ndjson"),
        ("a.jsonl", b"a\tb", "ndjson"),
        ("a", b' {"row"', "ndjson"),
        ("-", b"a\tb", "tsv"),
    ],
)
def test_the_format_follows_the_name_and_else_the_first_line(name: str, first_line: bytes, expected: str) -> None:
    assert format_of(name, first_line) == expected


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (b"text", "text"),
        (b"a\nb", "a\nb"),
        (b"", ""),
        ("ü😀".encode() * 100, "ü😀" * 100),
        (b'{"a":"b"}' * 20, {"base64": "eyJhIjoiYiJ9" * 20}),
        (b"5\n" * 300, {"base64": "NQo1CjUK" * 100}),
        (b"\0" * 9, {"base64": "AAAAAAAAAAAA"}),
        (b"\0", "\0"),
        (b"\xff", {"base64": "/w=="}),
    ],
)
def test_a_batch_is_sent_the_shorter_form_of_a_value(value: bytes, sent: object) -> None:
    line = json.loads(batch_line("a", value))
    assert line == {"row": "a", "value": sent}
    assert value_from_json(line["value"]) == value
    shown = json.loads(render(Row("a", value, "e"), "ndjson"))["value"]
    assert isinstance(shown, str) == (value != b"\xff"), "an export is read by people, too"


@given(st.binary() | st.text('a"\\\n\x00\x7fé😀').map(str.encode) | st.text('"\\\n', min_size=10).map(str.encode))
def test_no_other_form_of_a_value_is_shorter_than_the_one_that_is_sent(value: bytes) -> None:
    sent = value_to_send(value)
    forms = [value_to_json(value), {"base64": b64encode(value).decode()}]
    assert value_from_json(sent) == value
    assert len(line_of(sent)) == min(len(line_of(form)) for form in forms)


def test_the_beginning_of_a_line_up_to_its_siblings_is_a_row() -> None:
    value = b',"siblings":[{"value":"a"}]\\","siblings":['
    line = render(Row("a", value, "e", "context", (value, b"b")), "ndjson")
    for end in range(line.index(b',"siblings":[') + len(b',"siblings":['), len(line)):
        assert parse(without_siblings(line[:end]), "ndjson") == ("a", value)
    assert without_siblings(b'{"row":"a","value":"b') == b""
    with pytest.raises(ValueError, match="not JSON"):
        parse(without_siblings(b'{"row":"a","value":{"x":1,"siblings":['), "ndjson")
    with pytest.raises(ValueError, match=r'not \{"row"'):
        parse(without_siblings(b'{"row":"a","siblings":[],"siblings":["'), "ndjson")
