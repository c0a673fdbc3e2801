"""Envelopes survive the wire; whatever else arrives is a DecodeError, or one refused row."""

from __future__ import annotations

import dataclasses
import importlib.util
import struct
import tracemalloc
import typing
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gossipkv.codec import PROTOCOL_VERSION, DecodeError, Limits, decode, encode
from gossipkv.codec.frame import _LAYOUTS
from gossipkv.core.model.causality import SEQUENCE_MAX, Context, Dot
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.core.protocol.envelope_room import ENVELOPE_BYTES_MAX, FRAME_BYTES_MAX, bytes_of
from gossipkv.core.protocol.messages import (
    Ack,
    Delta,
    Envelope,
    LargeRow,
    Message,
    Outline,
    Ping,
    PingRequest,
    Range,
    RefusedRow,
    RowCopy,
    ValuePart,
    WalkRows,
)
from gossipkv.core.protocol.rumours import RUMOURS_PER_MESSAGE_MAX, Life, Rumour


def _neighbour(name: str) -> ModuleType:
    """Tests are not a package: a neighbour is loaded by its path."""
    specification = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


strategies = _neighbour("strategies")
LIMITS = Limits()
SMALL = Limits(value_bytes_max=10, row_bytes_max=15, frame_bytes_max=8192, messages_max=3, context_entries_max=4)


# Round trips.


@pytest.mark.parametrize("message_type", list(strategies.of_type), ids=lambda found: found.__name__)
@given(data=st.data())
def test_every_message_survives_the_wire(message_type: type[Message], data: st.DataObject) -> None:
    envelope = data.draw(strategies.envelopes_of(strategies.of_type[message_type]))
    decoded = decode(encode(envelope), LIMITS)
    assert decoded == envelope
    assert encode(decoded) == encode(envelope)


def test_every_message_has_a_layout_of_all_its_fields() -> None:
    assert [layout.message for layout in _LAYOUTS] == list(typing.get_args(Message))
    assert set(strategies.of_type) == set(typing.get_args(Message))
    assert len({layout.tag for layout in _LAYOUTS}) == len(_LAYOUTS)
    for layout in _LAYOUTS:
        names = [field.name for field in dataclasses.fields(layout.message)]
        assert [name for name in names if name != "refused"] == list(layout.fields)


def test_decoded_rows_are_of_the_cores_own_types() -> None:
    copy = RowCopy(b"t\0k", StoredRow((Version(Dot(1, 1), 1, b"v"),), Context({1: 1})))
    (message,) = decode(encode(enveloped(WalkRows("usr", (copy,), None))), LIMITS).messages
    assert isinstance(message, WalkRows)
    (decoded,) = message.rows
    assert type(decoded) is RowCopy
    assert type(decoded.row) is StoredRow
    assert type(decoded.row.context) is Context
    assert type(decoded.row.winner) is Version
    assert type(decoded.row.winner.dot) is Dot


# Hostile frames.


def enveloped(*messages: Message) -> Envelope:
    return Envelope("cluster", "member", 7, 1, 1_763_000_000_000, messages)


VERSION = bytes((PROTOCOL_VERSION,))


def frame_of(*items: object, protocol: int = PROTOCOL_VERSION) -> bytes:
    return bytes([protocol]) + b"".join(msgpack.packb(item) for item in items)


HEAD = ("cluster", "member", 7, 1, 1_763_000_000_000, True, 1, 7, 7, None, True, 0)


def message_of(tag: object, *fields: object) -> bytes:
    return frame_of(*HEAD, 1, tag, *fields)


def pairs(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}Q", *numbers)


SHALLOW = b"\xdd\x00\x00\xff\xff"
HOSTILE = {
    "nothing": b"",
    "only a version": VERSION,
    "not msgpack": VERSION + b"\xc1",
    "a truncated scalar": frame_of(*HEAD, 0) + b"\xcd",
    "a truncated scalar behind a nil": message_of(16, "usr", 0, None) + b"\xcd",
    "a scalar short of one byte": frame_of(*HEAD, 0) + b"\xcc",
    "a text short of one byte": frame_of(*HEAD, 0) + b"\xa1",
    "a value short of one byte": frame_of(*HEAD, 0) + b"\xc4\x01",
    "a truncated value": frame_of(*HEAD, 0)[:-3],
    "a trailing item": frame_of(*HEAD, 0, None),
    "another message than counted": frame_of(*HEAD, 0, 6, "usr"),
    "fewer messages than counted": frame_of(*HEAD, 2, 6, "usr"),
    "an announced 4 GiB": VERSION + b"\xc6\xff\xff\xff\xff",
    "deep arrays": VERSION + b"\x91" * 4000,
    "wide arrays in wide arrays": VERSION + SHALLOW * 800,
    "empty arrays": VERSION + b"\x90" * 4000,
    "empty maps": VERSION + b"\x80" * 4000,
    "wide maps": VERSION + b"\xdf\x00\x00\xff\xff" * 800,
    "extensions": VERSION + b"\xd4\x00\x00" * 1000,
    "an empty extension": VERSION + b"\xc7\x00\x05",
    "a bad timestamp": VERSION + b"\xc7\x00\xff",
    "nothing but nil": VERSION + b"\xc0" * 4000,
    "text that is not UTF-8": VERSION + b"\xa1\xff",
    "a name in bytes": frame_of(b"cluster", *HEAD[1:], 0),
    "an empty name": frame_of("", *HEAD[1:], 0),
    "a long name": frame_of("c" * 256, *HEAD[1:], 0),
    "a replica below 0": frame_of("c", "m", -1, 1, 1, 0),
    "a boolean incarnation": frame_of("c", "m", 1, True, 1, 0),
    "a clock of 64 bits": frame_of("c", "m", 1, 1, 2**63, 0),
    "a fractional clock": frame_of("c", "m", 1, 1, 1.0, 0),
    "too many messages": frame_of(*HEAD, 4, *(6, "usr") * 4),
    "a tag unknown": message_of(17, "usr"),
    "a tag of 0": message_of(0, "usr"),
    "a tag in text": message_of("Offer", "usr"),
    "a boolean tag": message_of(True, "usr", 1, 1, 1, 1, False),
    "an unknown shard": message_of(6, "new"),
    "a shard in bytes": message_of(6, b"usr"),
    "a digest too short": message_of(1, "usr", 1, 1, 1, 1),
    "a digest's flag of 1": message_of(1, "usr", 1, 1, 1, 1, 1),
    "a digest's rows below 0": message_of(1, "usr", 1, 1, -1, 1, False),
    "a digest's hash missing": message_of(1, "usr", None, 1, 1, 1, False),
    "a context in text": message_of(2, "usr", "0123456789abcdef"),
    "a context cut short": message_of(2, "usr", pairs(1, 1)[:-1]),
    "a replica twice": message_of(2, "usr", pairs(1, 1, 1, 2)),
    "a sequence of 0": message_of(2, "usr", pairs(1, 0)),
    "a sequence too great": message_of(2, "usr", pairs(1, SEQUENCE_MAX + 1)),
    "a context too long": message_of(2, "usr", b"".join(pairs(replica, 1) for replica in range(5))),
    "a cursor cut short": message_of(4, "usr", b"", pairs(1)),
    "a cursor too far": message_of(4, "usr", b"", pairs(1, SEQUENCE_MAX + 1)),
    "a cursor of 0": message_of(4, "usr", b"", 0),
    "a range backwards": message_of(5, "usr", pairs(1, 3, 2), 0, None),
    "a range to 0": message_of(5, "usr", pairs(1, 0, 0), 0, None),
    "a range too far": message_of(5, "usr", pairs(1, 0, SEQUENCE_MAX + 1), 0, None),
    "an origin twice": message_of(5, "usr", pairs(1, 0, 1, 1, 0, 2), 0, None),
    "too many ranges": message_of(5, "usr", pairs(*(n for o in range(5) for n in (o, 0, 1))), 0, None),
    "more rows than follow": message_of(5, "usr", b"", 2**31, None),
    "more rows than bytes": message_of(5, "usr", b"", 700, *(0, None, None) * 700, None),
    "rows below 0": message_of(5, "usr", b"", -1, None),
    "more versions than follow": message_of(5, "usr", b"", 1, 2**40, b"t\0k", b"", None),
    "versions below 0": message_of(5, "usr", b"", 1, -1, b"t\0k", b"", None),
    "versions counted in text": message_of(5, "usr", b"", 1, "1", b"t\0k", b"", b"", b"", None, None),
    "a root without sums": message_of(9, "usr", b"", b""),
    "a root of 255 nodes": message_of(9, "usr", b"", bytes(16 * 255)),
    "sums cut short": message_of(11, "usr", b"\x00", bytes(16 * 256 - 1)),
    "sums of another number": message_of(11, "usr", b"\x00\x01", bytes(16 * 256)),
    "leaves cut short": message_of(12, "usr", b"\x00", b""),
    "a start that is no address": message_of(12, "usr", b"\x00\x00", b"table"),
    "a start in text": message_of(12, "usr", b"\x00\x00", ""),
    "an entry without dots": message_of(13, "usr", 1, b"t\0k", b"", None),
    "an entry's sequence of 0": message_of(13, "usr", 1, b"t\0k", pairs(1, 0), None),
    "a place below 0": message_of(13, "usr", 0, -1, b""),
    "a place without an address": message_of(13, "usr", 0, 1),
    "an address without a table": message_of(15, "usr", 1, b"\0k"),
    "an address without a key": message_of(15, "usr", 1, b"t\0"),
    "an address with a long key": message_of(15, "usr", 1, b"t\0" + b"k" * 401),
    "an address that is not UTF-8": message_of(15, "usr", 1, b"t\0\xff"),
    "an address of nil": message_of(15, "usr", 1, None),
    "more addresses than follow": message_of(15, "usr", 2**31, b"t\0k"),
    "more outlines than follow": message_of(16, "usr", 0, None, 2**31),
    "an outline cut short": message_of(16, "usr", 0, None, 1, 1, b"t\0k", pairs(1, 1), pairs(1, 1, 9), 1, 1),
    "a value of no version": message_of(21, "usr", b"t\0k", pairs(1), 7, 0),
    "a value of sequence 0": message_of(21, "usr", b"t\0k", pairs(1, 0), 7, 0),
    "a value from below 0": message_of(21, "usr", b"t\0k", pairs(1, 1), 7, -1),
    "a fragment in text": message_of(22, "usr", b"t\0k", pairs(1, 1), 0, "value", 0, 0),
    "a fragment of nil": message_of(22, "usr", b"t\0k", pairs(1, 1), 0, None, 0, 0),
}


@pytest.mark.parametrize("frame", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_frame_is_malformed(frame: bytes) -> None:
    assert len(frame) <= SMALL.frame_bytes_max
    with pytest.raises(DecodeError) as raised:
        decode(frame, SMALL)
    assert raised.value.reason == "malformed"


def test_another_protocol_version_is_refused_by_that_name_whatever_follows() -> None:
    for frame in (frame_of(*HEAD, 0, protocol=PROTOCOL_VERSION + 1), b"\x01\xc1\xc1", b"\x00"):
        with pytest.raises(DecodeError) as raised:
            decode(frame, LIMITS)
        assert raised.value.reason == "protocol"


def test_a_frame_of_the_greatest_size_is_read_and_one_byte_more_is_not() -> None:
    frame = encode(enveloped())
    exact = Limits(value_bytes_max=1, frame_bytes_max=len(frame))
    assert decode(frame, exact) == enveloped()
    with pytest.raises(DecodeError) as raised:
        decode(frame + b"\xc0", exact)
    assert raised.value.reason == "too_large"


MEMORY = {
    "deep arrays": b"\x91",
    "wide arrays": SHALLOW,
    "chains in wide arrays": SHALLOW + b"\x91" * 900 + b"\x90",
    "empty maps": b"\x80",
    "integers": b"\xcd\xff\xff",
    "extensions": b"\xc7\x00\x05",
    "rows of nothing": message_of(5, "usr", b"", 600_000)[1:] + b"\x00\xc0\xc0" * 600_000 + b"\xc0",
}


@pytest.mark.parametrize("repeated", MEMORY.values(), ids=MEMORY.keys())
def test_no_frame_takes_memory_out_of_proportion(repeated: bytes) -> None:
    frame = (VERSION + repeated * (LIMITS.frame_bytes_max // len(repeated)))[: LIMITS.frame_bytes_max]
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError):
            decode(frame, LIMITS)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * LIMITS.frame_bytes_max


def filled(tag: int, *fields: object, unit: bytes, rest: tuple[object, ...] = ()) -> bytes:
    """A frame of the greatest size, of one message with a list of equal elements."""
    start, end = message_of(tag, *fields), b"".join(msgpack.packb(item) for item in rest)
    count = (LIMITS.frame_bytes_max - len(start) - len(end) - 5) // len(unit)
    length: bytes = msgpack.packb(count)
    return start + length + unit * count + end


def packed_items(*items: object) -> bytes:
    return b"".join(msgpack.packb(item) for item in items)


LARGEST = {
    "entries": filled(13, "usr", unit=packed_items(b"t\0k", pairs(1, 1, 1)), rest=(None,)),
    "rows": filled(
        16, "usr", unit=packed_items(1, b"t\0k", pairs(1, 1), pairs(1, 1, 1), b"", None), rest=(None, 0, 0, 0)
    ),
    "a row of many versions": filled(16, "usr", 1, unit=packed_items(pairs(1, 1, 1), b"", None), rest=(None, 0, 0, 0)),
    "a context": message_of(16, "usr", 1, 1, b"t\0k", pairs(*(number for o in range(130_000) for number in (o, 1)))),
    "leaves": message_of(12, "usr", bytes(LIMITS.frame_bytes_max - 200), b""),
    "addresses": filled(15, "usr", unit=packed_items(b"t\0k")),
}


@pytest.mark.parametrize("frame", LARGEST.values(), ids=LARGEST.keys())
def test_an_envelope_takes_at_most_sixteen_times_its_frame(frame: bytes) -> None:
    assert len(frame) <= LIMITS.frame_bytes_max
    tracemalloc.start()
    try:
        with suppress(DecodeError):
            decode(frame, LIMITS)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 * LIMITS.frame_bytes_max


@given(strategies.envelopes, st.data())
def test_a_damaged_frame_is_an_envelope_or_a_decode_error(envelope: Envelope, data: st.DataObject) -> None:
    frame = bytearray(encode(envelope))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(frame) - 1))
        match data.draw(st.sampled_from(["replace", "truncate", "insert", "extend"])):
            case "replace":
                frame[place] = data.draw(st.integers(0, 255))
            case "truncate":
                del frame[max(1, place) :]
            case "insert":
                frame[place:place] = data.draw(st.binary(max_size=9))
            case _:
                frame += data.draw(st.binary(max_size=9))
    try:
        decoded = decode(bytes(frame), LIMITS)
    except DecodeError:
        return
    assert isinstance(decoded, Envelope)


@given(st.binary(max_size=200))
@example(b"")
def test_noise_is_a_decode_error(noise: bytes) -> None:
    with pytest.raises(DecodeError):
        decode(VERSION + noise, LIMITS)


# Rows.


STAMP = pairs(1, 2, 99)
CONTEXT = pairs(1, 2, 5, 1)
BAD_ROWS: dict[str, tuple[list[object], RefusedRow]] = {
    "a value over the limit": (
        [1, b"t\0bad", CONTEXT, STAMP, bytes(11), None],
        RefusedRow((1, 5), "value_too_large"),
    ),
    "no versions": ([0, b"t\0bad", CONTEXT], RefusedRow((1, 5), "undecodable")),
    "a dot not covered": (
        [1, b"t\0bad", CONTEXT, pairs(1, 3, 99), b"v", None],
        RefusedRow((1, 5), "undecodable"),
    ),
    "a dot of a replica not covered": (
        [1, b"t\0bad", CONTEXT, pairs(9, 1, 99), b"v", None],
        RefusedRow((1, 5, 9), "undecodable"),
    ),
    "a sequence of 0": (
        [1, b"t\0bad", CONTEXT, pairs(1, 0, 99), b"v", None],
        RefusedRow((1, 5), "undecodable"),
    ),
    "versions in ascending rank": (
        [2, b"t\0bad", CONTEXT, pairs(1, 1, 98), b"a", None, STAMP, b"b", None],
        RefusedRow((1, 5), "undecodable"),
    ),
    "a version twice": (
        [2, b"t\0bad", CONTEXT, STAMP, b"a", None, STAMP, b"a", None],
        RefusedRow((1, 5), "undecodable"),
    ),
    "a bad table": ([1, b"t t\0bad", CONTEXT, STAMP, b"v", None], RefusedRow((1, 5), "undecodable")),
    "a key that is too long": (
        [1, b"t\0" + b"k" * 401, CONTEXT, STAMP, b"v", None],
        RefusedRow((1, 5), "undecodable"),
    ),
    "an address in text": ([1, "t\0bad", CONTEXT, STAMP, b"v", None], RefusedRow((1, 5), "undecodable")),
    "a value in text": ([1, b"t\0bad", CONTEXT, STAMP, "v", None], RefusedRow((1, 5), "undecodable")),
    "a value of 1": ([1, b"t\0bad", CONTEXT, STAMP, 1, None], RefusedRow((1, 5), "undecodable")),
    "an expiry below 0": ([1, b"t\0bad", CONTEXT, STAMP, b"v", -1], RefusedRow((1, 5), "undecodable")),
    "a boolean expiry": ([1, b"t\0bad", CONTEXT, STAMP, b"v", True], RefusedRow((1, 5), "undecodable")),
    "a stamp cut short": ([1, b"t\0bad", CONTEXT, STAMP[:-1], b"v", None], RefusedRow(None, "undecodable")),
    "a stamp of nil": ([1, b"t\0bad", CONTEXT, None, b"v", None], RefusedRow(None, "undecodable")),
    "a context of nil": ([1, b"t\0bad", None, STAMP, b"v", None], RefusedRow(None, "undecodable")),
    "a context cut short": ([1, b"t\0bad", CONTEXT[1:], STAMP, b"v", None], RefusedRow(None, "undecodable")),
    "a context with a sequence of 0": (
        [1, b"t\0bad", pairs(1, 2, 5, 0), STAMP, b"v", None],
        RefusedRow(None, "undecodable"),
    ),
    "a context with a replica twice": (
        [1, b"t\0bad", pairs(1, 2, 1, 1), STAMP, b"v", None],
        RefusedRow(None, "undecodable"),
    ),
    "an empty context and no versions": ([0, b"t\0bad", b""], RefusedRow(None, "undecodable")),
}


def neighbour(key: bytes) -> tuple[list[object], RowCopy]:
    copy = RowCopy(b"t\0" + key, StoredRow((Version(Dot(1, 2), 99, b"value", 5),), Context({1: 2, 5: 1})))
    return [1, b"t\0" + key, CONTEXT, STAMP, b"value", 5], copy


@pytest.mark.parametrize(("bad", "refused"), BAD_ROWS.values(), ids=BAD_ROWS.keys())
def test_a_bad_row_is_refused_and_its_neighbours_survive(bad: list[object], refused: RefusedRow) -> None:
    (first, first_copy), (last, last_copy) = neighbour(b"first"), neighbour(b"last")
    delta = (5, "usr", pairs(1, 0, 9), 3, *first, *bad, *last, None, 0, 0, 0)
    walk_rows = (16, "sys", 3, *first, *bad, *last, 1, b"t\0last", 0, 0)
    decoded = decode(frame_of(*HEAD, 3, *delta, *walk_rows, 6, "usr"), SMALL)
    arrived, walked, offer = decoded.messages
    assert isinstance(arrived, Delta)
    assert arrived == Delta("usr", {1: Range(0, 9)}, (first_copy, last_copy), refused=arrived.refused)
    assert isinstance(walked, WalkRows)
    assert walked.rows == (first_copy, last_copy)
    for [found] in (arrived.refused, walked.refused):
        assert found[:2] == refused[:2]
        assert (found.address is None) == (found.context is None)
        assert found.context is None or tuple(sorted(found.context)) == refused.origins
    assert walked.resume == (1, b"t\0last")
    assert not hasattr(offer, "refused")


BAD_OUTLINES: dict[str, tuple[list[object], RefusedRow]] = {
    "a value over the limit": ([1, b"t\0bad", CONTEXT, STAMP, 11, 7, None], RefusedRow((1, 5), "value_too_large")),
    "a row over the limit": (
        [2, b"t\0bad", CONTEXT, STAMP, 8, 7, None, pairs(5, 1, 98), 8, 7, None],
        RefusedRow((1, 5), "row_too_large"),
    ),
    "no versions": ([0, b"t\0bad", CONTEXT], RefusedRow((1, 5), "undecodable")),
    "a dot not covered": ([1, b"t\0bad", CONTEXT, pairs(1, 3, 99), 1, 7, None], RefusedRow((1, 5), "undecodable")),
    "a size below 0": ([1, b"t\0bad", CONTEXT, STAMP, -1, 7, None], RefusedRow((1, 5), "undecodable")),
    "a size in text": ([1, b"t\0bad", CONTEXT, STAMP, "1", 7, None], RefusedRow((1, 5), "undecodable")),
    "a digest of nil": ([1, b"t\0bad", CONTEXT, STAMP, 1, None, None], RefusedRow((1, 5), "undecodable")),
    "a digest too great": ([1, b"t\0bad", CONTEXT, STAMP, 1, 2**64 - 1, -1], RefusedRow((1, 5), "undecodable")),
    "versions in ascending rank": (
        [2, b"t\0bad", CONTEXT, pairs(5, 1, 98), 1, 7, None, STAMP, 1, 7, None],
        RefusedRow((1, 5), "undecodable"),
    ),
    "a stamp of nil": ([1, b"t\0bad", CONTEXT, None, 1, 7, None], RefusedRow(None, "undecodable")),
}


@pytest.mark.parametrize(("bad", "refused"), BAD_OUTLINES.values(), ids=BAD_OUTLINES.keys())
def test_a_bad_outline_is_refused_and_its_neighbours_survive(bad: list[object], refused: RefusedRow) -> None:
    good = [2, b"t\0good", CONTEXT, STAMP, 9, 2**64 - 1, 5, pairs(5, 1, 98, 3), None, 0, None]
    outline = LargeRow(
        b"t\0good",
        (Outline(Dot(1, 2), 99, 9, 2**64 - 1, 5), Outline(Dot(5, 1), 98, None, 0, None, 3)),
        Context({1: 2, 5: 1}),
    )
    delta = (5, "usr", pairs(1, 0, 9), 0, None, 3, *good, *bad, *good, 0, 0)
    value = (22, "usr", b"t\0k", pairs(1, 1), 3, b"value", 0, 2, *bad, *good, 0)
    arrived, fragment = decode(frame_of(*HEAD, 2, *delta, *value), SMALL).messages
    assert isinstance(arrived, Delta)
    assert isinstance(fragment, ValuePart)
    assert arrived == Delta("usr", {1: Range(0, 9)}, (), None, (outline, outline), refused=arrived.refused)
    assert fragment == ValuePart("usr", b"t\0k", Dot(1, 1), 3, b"value", (), (outline,), refused=fragment.refused)
    assert [found[:2] for found in (*arrived.refused, *fragment.refused)] == [refused[:2]] * 2


def test_a_refused_row_is_named_with_all_writes_that_it_may_stand_for() -> None:
    bad = [1, b"t\0bad", CONTEXT, pairs(9, 4, 99), b"v", None]
    (message,) = decode(frame_of(*HEAD, 1, 16, "usr", 1, *bad, None, 0, 0), SMALL).messages
    assert isinstance(message, WalkRows)
    assert message.refused == (RefusedRow((1, 5, 9), "undecodable", b"t\0bad", Context({1: 2, 5: 1, 9: 4})),)


@given(strategies.envelopes)
def test_no_message_is_larger_than_it_is_taken_to_be(envelope: Envelope) -> None:
    head = len(encode(dataclasses.replace(envelope, messages=())))
    assert len(encode(envelope)) - head <= sum(map(bytes_of, envelope.messages))


def test_an_envelope_that_is_full_fits_a_frame() -> None:
    longest = Envelope("c" * 255, "m" * 255, 2**64 - 1, 2**62, 2**62, ())
    rumours = (Rumour("m" * 255, "suspect", Life(2**62, 2**62), "m" * 255),) * (RUMOURS_PER_MESSAGE_MAX + 2)
    probes = (Ping(rumours), PingRequest("m" * 255, rumours), Ack("m" * 255, rumours))
    assert ENVELOPE_BYTES_MAX + len(encode(dataclasses.replace(longest, messages=probes))) < FRAME_BYTES_MAX
    assert LIMITS.frame_bytes_max == FRAME_BYTES_MAX


def test_a_value_is_taken_whatever_the_receiver_takes_from_its_clients() -> None:
    row = StoredRow((Version(Dot(1, 1), 1, bytes(3 * 1024 * 1024 // 2)),), Context({1: 1}))
    envelope = enveloped(Delta("usr", {1: Range(0, 1)}, (RowCopy(b"t\0k", row),)))
    assert decode(encode(envelope), LIMITS) == envelope


def test_siblings_of_one_moment_are_taken_in_order_of_their_dots() -> None:
    versions = (Version(Dot(5, 1), 7, b"b"), Version(Dot(1, 2), 7, None), Version(Dot(1, 1), 7, b"a"))
    row = StoredRow(versions, Context({1: 2, 5: 1}))
    envelope = enveloped(Delta("usr", {}, (RowCopy(b"t\0k", row),)))
    assert decode(encode(envelope), LIMITS) == envelope
