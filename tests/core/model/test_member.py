from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipkv.core.model.member import INCARNATION_END, MemberRecord

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
RECORDS = st.builds(
    MemberRecord,
    replica=st.integers(0, 2**64 - 1),
    incarnation=st.integers(0, INCARNATION_END - 1),
    endpoints=st.dictionaries(TEXT, st.sampled_from(["http://a:7081", "http://[fd00::1]:1", ""]), max_size=3),
    has_left=st.booleans(),
    zone=st.none() | TEXT,
    version=TEXT,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
RECORD = MemberRecord(7, 3, {"gossip": "http://a:7081", "http": "http://a:7080"}, zone="z")


@given(RECORDS)
def test_a_record_survives_its_json(record: MemberRecord) -> None:
    assert MemberRecord.from_json(record.to_json()) == record


def test_a_record_is_written_as_documented() -> None:
    assert json.loads(RECORD.to_json()) == {
        "protocols": [{"name": "gossip", "endpoint": "http://a:7081"}, {"name": "http", "endpoint": "http://a:7080"}],
        "replica": "0000000000000007",
        "incarnation": 3,
        "status": "alive",
        "zone": "z",
        "version": "",
        "started": 0,
        "process": "0000000000000000",
        "born": "0000000000000000",
    }


def test_fields_of_a_newer_member_are_ignored() -> None:
    assert MemberRecord.from_json(json.dumps(json.loads(RECORD.to_json()) | {"newer": [1]}).encode()) == RECORD


@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_garbage_is_a_value_error(garbage: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        MemberRecord.from_json(garbage)


@given(
    st.sampled_from(["replica", "incarnation", "protocols", "status", "zone", "version", "started", "process", "born"]),
    JSON,
)
def test_a_record_with_a_field_of_any_other_kind_is_read_or_is_a_value_error(name: str, value: object) -> None:
    spoilt = json.dumps(json.loads(RECORD.to_json()) | {name: value}).encode()
    try:
        record = MemberRecord.from_json(spoilt)
    except ValueError:
        return
    assert isinstance(record, MemberRecord)


@pytest.mark.parametrize("name", ["replica", "incarnation", "protocols", "status"])
def test_a_record_that_lacks_a_field_is_a_value_error(name: str) -> None:
    fields = json.loads(RECORD.to_json())
    del fields[name]
    with pytest.raises(ValueError, match="not a member record"):
        MemberRecord.from_json(json.dumps(fields).encode())
