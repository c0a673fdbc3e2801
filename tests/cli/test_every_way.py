"""What any way in takes, every way out gives: values and keys that each form writes at its longest."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gossipkv import ConditionFailedError, Put
from gossipkv.api.options import ApiOptions
from gossipkv.cli.files import importer
from gossipkv.client import UnresolvedSiblingsError, value_from_json
from gossipkv.client.servers import requests
from gossipkv.config.settings import rules
from tests.cli.conftest import Run
from tests.cli.members_in_thread import MembersInThread
from tests.cli.ways import (
    SLOW_WAYS_OUT,
    WAYS_IN,
    WAYS_OUT,
    Rows,
    Ways,
    client_batch,
    client_watch,
    embedded_range,
    export,
    exported,
    import_of_escapes,
    put,
    row_path,
)

VALUE_BYTES_MAX = 3_000
MEBIBYTE = 1024 * 1024


def worst_values(size: int) -> dict[str, bytes]:
    """Each of so many bytes, but for the rest that a pattern leaves."""
    patterns = {
        "null": b"\0",
        "quotation": b'"',
        "backslash": b"\\",
        "control": b"\x1f",
        "delete": b"\x7f",
        "tab": b"\t",
        "digit and line feed": b"5\n",
        "carriage return and line feed": b"\r\n",
        "two bytes": "é".encode(),
        "line separator": "\u2028".encode(),
        "four bytes": "😀".encode(),
        "half of a surrogate pair": b"\xed\xa0\x80",
        "not UTF-8": b"\xff",
        "cut off": b"a" * (size - 1) + b"\xf0",
        "looks like JSON": b'"},"siblings":[{"value":"',
    }
    return {name: pattern * (size // len(pattern)) for name, pattern in patterns.items()}


def worst_rows(size: int) -> Rows:
    keys = [character * (400 // len(character.encode())) for character in ("\0", '"', "\\", "\x1f", "\n", "é", "😀")]
    values = [*worst_values(size).values(), b""]
    # The keys are fewer, and stand beside ordinary ones.
    return {keys[at] if at < len(keys) else f"row {at}": value for at, value in enumerate(values)}


ROWS = worst_rows(VALUE_BYTES_MAX)
_filled: set[str] = set()


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MembersInThread]:
    """Pages, and a watcher's buffer, have room for few of the rows."""
    limits = {
        "value_bytes_max": VALUE_BYTES_MAX,
        "page_bytes_max": 20_000,
        "watch_buffer_bytes_max": 65_536,
        "siblings_max": 1_000,
    }
    _filled.clear()
    with MembersInThread(tmp_path_factory.mktemp("members"), 2, **limits).running() as members:
        yield members


@pytest.fixture
def ways(members: MembersInThread, run: Run, tmp_path: Path) -> Ways:
    return Ways(members, run, tmp_path)


@pytest.mark.parametrize("way_out", WAYS_OUT, ids=lambda way: way.__name__)
@pytest.mark.parametrize("way_in", WAYS_IN, ids=lambda way: way.__name__)
def test_what_goes_in_comes_out(
    ways: Ways, way_in: Callable[[Ways, str, Rows], None], way_out: Callable[[Ways, str, Rows], Rows]
) -> None:
    table = way_in.__name__
    if table not in _filled:
        way_in(ways, table, ROWS)
        _filled.add(table)
    assert way_out(ways, table, ROWS) == ROWS


@pytest.mark.parametrize("way_out", SLOW_WAYS_OUT, ids=lambda way: way.__name__)
def test_what_goes_in_is_shown_by_commands(ways: Ways, way_out: Callable[[Ways, str, Rows], Rows]) -> None:
    put(ways, way_out.__name__, ROWS)
    assert way_out(ways, way_out.__name__, ROWS) == ROWS


def test_a_value_above_the_limit_is_refused_by_each_way_in_and_the_row_stays(ways: Ways) -> None:
    """Refused by name, and not for the length of its line."""
    ways.ask("PUT", row_path("above", "a"), b"before")
    line = json.dumps({"row": "a", "value": "\0" * (VALUE_BYTES_MAX + 1)}).encode()
    assert ways.ask("PUT", row_path("above", "a"), b"\0" * (VALUE_BYTES_MAX + 1))[0] == 413
    result = json.loads(ways.ask("POST", "/v1/usr/tables/above/rows:batch", line)[2])
    assert result["problem"]["type"] == "urn:gossipkv:problem:value-too-large"
    assert "too large" in ways.run("import", "above", ways.file("rows.ndjson", line), "--server", ways.url, code=1).err
    with pytest.raises(ValueError, match="at most 3000 bytes"):
        ways.members.ask(ways.members.nodes[0].table("above").put("a", b"\0" * (VALUE_BYTES_MAX + 1)))
    assert ways.ask("GET", row_path("above", "a"))[2] == b"before"


def put_siblings(ways: Ways, table: str, values: list[bytes]) -> None:
    """Into the row `a`. Its readers find the last one first."""
    with ways.client() as client:
        client.table(table).configure(conflicts="siblings")
        for value in values:
            client.table(table).put("a", value)


def _values(item: dict[str, Any]) -> list[bytes]:
    return [value_from_json(each["value"]) for each in item["siblings"]]


def _page(ways: Ways, table: str, accept: str) -> list[bytes]:
    page = json.loads(next(ways.pages(table, accept)))
    return _values(page["items"][0] if "items" in page else page)


def _multipart(ways: Ways, table: str) -> list[bytes]:
    status, headers, body = ways.ask("GET", row_path(table, "a"), accept="multipart/mixed")
    assert status == 300
    _, *parts, _ = body.split(f"--{headers.get_boundary()}".encode())
    return [part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for part in parts]


def _client_get(ways: Ways, table: str) -> list[bytes]:
    with ways.client() as client, pytest.raises(UnresolvedSiblingsError) as unresolved:
        client.table(table).get("a")
    return list(unresolved.value.row.siblings)


def _client_watch(ways: Ways, table: str) -> list[bytes]:
    with ways.client() as client:
        changes = client.table(table).watch(snapshot=True)
        change = next(changes)
        changes.close()
    return list(change.siblings)


def _embedded_range(ways: Ways, table: str) -> list[bytes]:
    async def ranged() -> list[bytes]:
        async for row in ways.members.nodes[0].table(table, resolve=lambda values: values[0]).range():
            return list(row.siblings)
        return []

    return ways.members.ask(ranged())


def _shown(out: bytes) -> list[bytes]:
    return [value_from_json(each) for each in json.loads(out)["siblings"]]


SIBLINGS_OUT: dict[str, Callable[[Ways, str], list[bytes]]] = {
    "get": lambda ways, table: _values(json.loads(ways.ask("GET", row_path(table, "a"))[2])),
    "get of two members": lambda ways, table: _values(
        json.loads(ways.ask("GET", f"{row_path(table, 'a')}?r=2", member=1)[2])
    ),
    "get of parts": _multipart,
    "listing": lambda ways, table: _page(ways, table, "application/json"),
    "listing by lines": lambda ways, table: _page(ways, table, "application/x-ndjson"),
    "watch": lambda ways, table: _values(next(data for name, data in ways.events(table) if name == "put")),
    "client get": _client_get,
    "client watch": _client_watch,
    "embedded range": _embedded_range,
    "command get": lambda ways, table: _shown(ways.run("get", table, "a", "--server", ways.url, code=9).out),
    "command list": lambda ways, table: _shown(ways.run("list", table, "-o", "json", "--server", ways.url).out),
    "command watch": lambda ways, table: [
        value_from_json(each) for each in next(ways.lines_of_watch_command(table))["siblings"]
    ],
    "export": lambda ways, table: _values(json.loads(ways.run("export", table, "--server", ways.url).out)),
}


def test_siblings_of_the_largest_size_come_out_by_every_way(ways: Ways) -> None:
    values = list(worst_values(VALUE_BYTES_MAX).values())
    put_siblings(ways, "carts", values)
    for name, way_out in SIBLINGS_OUT.items():
        assert way_out(ways, "carts") == values[::-1], name


def test_a_row_of_many_siblings_has_an_etag_that_headers_and_lines_hold(ways: Ways) -> None:
    key, count = "\0" * 400, 450
    with ways.client() as client:
        table = client.table("crowd", resolve=lambda values: b",".join(sorted(values)))
        table.configure(conflicts="siblings")
        assert not [each for each in table.batch(Put(key, b"%03d" % at) for at in range(count)) if each.error]
        row = table.get(key)
        assert row is not None
        assert row.etag is not None
        assert (len(row.siblings), len(row.etag) < 100) == (count, True)
        assert [each.etag for each in table.range()] == [row.etag]
        (refused,) = table.batch([Put(key, b"v", etag=row.etag.upper(), context=row.context)])
        assert isinstance(refused.error, ConditionFailedError)
        table.put(key, b"v", if_match=row.etag, context=row.context)
        after = table.get(key)
        assert after is not None
        assert after.siblings == ()


def test_values_of_a_mebibyte_take_every_way(run: Run, tmp_path: Path) -> None:
    """The default limit. Pairs are tried above; here each way is, the values being the same in between."""
    size = ApiOptions().value_bytes_max
    assert size == MEBIBYTE
    values = worst_values(size)
    rows = {"\0" * 400: values["null"], "b": values["digit and line feed"], "c": values["not UTF-8"]}
    with MembersInThread(tmp_path / "data", 2).running() as members:
        ways = Ways(members, run, tmp_path)
        for way_in in WAYS_IN:
            way_in(ways, "t", rows)
            assert embedded_range(ways, "t", rows) == rows, way_in.__name__
            members.ask(_emptied(members, "t", rows))
            members.ask(_emptied(members, "t-source", rows))
        put(ways, "t", rows)
        for way_out in [*WAYS_OUT, *SLOW_WAYS_OUT]:
            assert way_out(ways, "t", rows) == rows, way_out.__name__
    assert exported(run("export", "t", "--data-dir", members.data_dirs[0]).out) == rows


def test_siblings_of_a_mebibyte_are_more_than_a_line_and_are_watched_and_imported(run: Run, tmp_path: Path) -> None:
    siblings = [b"\0" * MEBIBYTE] * 4
    file = tmp_path / "carts.ndjson"
    with MembersInThread(tmp_path / "data", 1).running() as members:
        ways = Ways(members, run, tmp_path)
        put_siblings(ways, "carts", siblings)
        assert _client_watch(ways, "carts") == siblings
        # The line of the export is longer than an import holds; what it takes of it is not.
        run("export", "carts", file, "--server", ways.url)
        assert file.stat().st_size > importer.LINE_BYTES_MAX
        run("import", "merged", file, "--server", ways.url)
        assert embedded_range(ways, "merged", {}) == {"a": siblings[0]}
    assert run("export", "carts", "--data-dir", members.data_dirs[0]).out == file.read_bytes()


async def _emptied(members: MembersInThread, table: str, rows: Rows) -> None:
    for key in rows:
        await members.nodes[0].table(table).delete(key)


def test_the_largest_values_that_can_be_set_fit_every_limit_of_lines(run: Run, tmp_path: Path) -> None:
    size = int(rules()["value_bytes_max"][2].maximum or 0)
    options = ApiOptions(value_bytes_max=size)
    assert size == importer.VALUE_BYTES_MAX
    assert 6 * (size + 400) + 100 <= importer.LINE_BYTES_MAX
    assert 6 * (size + 400) + 32 * 1024 <= requests.LINE_BYTES_MAX
    assert options.batch_line_bytes_max >= 6 * (size + 400) + 32 * 1024
    rows = {"\0" * 400: b"\0" * size}
    with MembersInThread(tmp_path / "data", 1, value_bytes_max=size).running() as members:
        ways = Ways(members, run, tmp_path)
        import_of_escapes(ways, "t", rows)
        client_batch(ways, "t", rows)
        assert client_watch(ways, "t", rows) == rows
        assert export(ways, "t", rows) == rows
