"""What is handed to the core is checked before anything is done."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any, TypeVar, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipkv.codec import Limits, decode, encode
from gossipkv.config.settings import Settings, SettingsError, check_each
from gossipkv.core.admission import REPLICA_MAX, SEEN_ENTRIES_MAX
from gossipkv.core.inputs import (
    Await,
    Discovered,
    FollowChanges,
    Forget,
    Input,
    Inspect,
    Locate,
    Read,
    Withdraw,
    Write,
    admit,
)
from gossipkv.core.model.address import USER
from gossipkv.core.model.causality import SEQUENCE_MAX, Context, Dot
from gossipkv.core.model.clock import TIMESTAMP_MAX
from gossipkv.core.model.row import Conflicts, Seen
from gossipkv.core.model.write import Operation, StoredWrite
from gossipkv.core.options import ReplicaOptions
from gossipkv.core.protocol.messages import Delta, Envelope, RowCopy
from gossipkv.core.status import ReplicaStatus
from gossipkv.core.store.tables import TableSettings
from gossipkv.core.waits.answers import Receipt
from gossipkv.rows.arguments.invalid import InvalidInputError
from gossipkv.rows.arguments.limits import COPIES_MAX, LIFE_MS_MAX
from gossipkv.rows.errors import RequestError
from gossipkv.storage.encoding import decode_row, encode_row
from tests.core.cluster import Cluster
from tests.core.disks import at

VALUE_BYTES_MAX = 100

Made = TypeVar("Made")


class OtherBytes(bytes):
    """Encoded as something else, perhaps."""


class OtherText(str):
    __slots__ = ()


SEEN = Seen(Context({1: 1}), 5, 0)
DOT = Dot(1, 1)
NUMBERS = [0, -1, COPIES_MAX + 1, 10**30, True, 1.0, math.nan, math.inf, Decimal(1), "1", b"1"]


def unchecked(make: Callable[..., Made], *given: object, **named: object) -> Made:
    """What a caller makes who runs no type checker."""
    return make(*given, **named)


def put(**changed: object) -> Write:
    fields: dict[str, object] = {"address": at("k"), "value": b"v"} | changed
    return Write(USER, (unchecked(Operation, **fields),))


def wrong_writes() -> list[Write]:
    addresses: list[object] = [b"", b"t", b"t\0", b"\0k", b"t\0" + b"k" * 401, b"t\0\xff", b"no name\0k", "t\0k"]
    addresses += [None, 7, OtherBytes(at("k")), bytearray(at("k")), memoryview(at("k"))]
    values = ["text", OtherBytes(b"v"), bytearray(b"v"), memoryview(b"v"), 7, True, [b"v"], bytes(VALUE_BYTES_MAX + 1)]
    lives = [0, -1, LIFE_MS_MAX + 1, 2**63, 10**30, True, 1.0, math.nan, math.inf, Decimal(1), "5s"]
    seen = [
        "text",
        ({1: 1}, 5, 0),
        unchecked(SEEN._replace, context={1: 1}),
        SEEN._replace(context=Context({1: 0})),
        SEEN._replace(context=Context({1: SEQUENCE_MAX + 1})),
        SEEN._replace(context=Context({-1: 1})),
        SEEN._replace(context=Context({2**64: 1})),
        SEEN._replace(context=Context({1: True})),
        SEEN._replace(timestamp=2**64),
        SEEN._replace(timestamp=-1),
        unchecked(SEEN._replace, timestamp=5.0),
        SEEN._replace(siblings_above=6),
        unchecked(SEEN._replace, siblings_above=None),
    ]
    return [
        *[put(address=address) for address in addresses],
        *[put(value=value) for value in values],
        *[put(ttl_ms=life) for life in lives],
        *[put(seen=each) for each in seen],
        *[put(if_match=tags) for tags in ["a", ["a"], (b"a",), (1,), (OtherText("a"),), {"a"}]],
        *[put(if_absent=flag) for flag in ["no", 1, 0, None]],
        put(value=None, ttl_ms=5),
        put(value=None, if_absent=True),
        *[unchecked(put()._replace, copies=copies) for copies in NUMBERS],
        *[unchecked(put()._replace, shard=shard) for shard in ["", "other", b"usr", None, OtherText("usr"), ["usr"]]],
        unchecked(Write, USER, ((at("k"), b"v", None, False, None, None),)),
    ]


def wrong_others() -> list[Input]:
    return [
        *[unchecked(Await, 1, copies) for copies in NUMBERS],
        *[unchecked(Read, 1, USER, at("k"), members) for members in NUMBERS],
        *[unchecked(Await, 1, 1, deadline_ms=deadline) for deadline in ["1", 1.0, True, math.inf]],
        *[unchecked(Read, 1, USER, at("k"), 2, deadline) for deadline in ["1", 1.0, True, math.inf]],
        unchecked(Await, "1", 1),
        unchecked(Await, 1, 1, "usr.1.1"),
        Await(1, 1, Receipt("other", DOT)),
        Await(1, 1, Receipt(USER, DOT), {b"no address": DOT}),
        unchecked(Await, 1, 1, Receipt(USER, DOT), {at("k"): (1, "1")}),
        Read(1, "other", at("k"), 2),
        Read(1, USER, b"no address", 2),
        unchecked(Read, 1, USER, "text", 2),
        unchecked(Withdraw, "1"),
        Withdraw(True),
        unchecked(Locate, "usr.1.1"),
        Locate(Receipt(USER, Dot(1, 0))),
        Locate(Receipt(USER, Dot(2**64, 1))),
        Locate(unchecked(Receipt, USER, (1, 1))),
        unchecked(Forget, b"m"),
        unchecked(Forget, None),
        unchecked(Forget, ["m"]),
        unchecked(Forget, "m", is_forced=1),
        unchecked(Forget, "m", is_forced="true"),
        unchecked(Discovered, "http://a"),
        unchecked(Discovered, ("http://a", None)),
        Discovered(("",)),
        Discovered(("http://\ud800",)),
        Discovered(("x" * 2000,)),
        unchecked(Discovered, (), ["m"]),
        unchecked(Discovered, (), frozenset([1])),
        unchecked(Discovered, (), frozenset(["m", 1])),
        Discovered((), frozenset(["m" * 256])),
        Discovered((), None, "z" * 256),
        unchecked(Discovered, (), None, 7),
        unchecked(FollowChanges, "yes"),
        unchecked(FollowChanges, 1),
    ]


@pytest.mark.parametrize("happened", [*wrong_writes(), *wrong_others()], ids=lambda happened: type(happened).__name__)
def test_what_no_message_and_no_record_can_hold_is_not_admitted(happened: Input) -> None:
    with pytest.raises(InvalidInputError):
        admit(happened, VALUE_BYTES_MAX)


def test_what_is_not_admitted_disturbs_no_other_input_of_its_batch() -> None:
    cluster = Cluster()
    member = cluster.start("a", value_bytes_max=VALUE_BYTES_MAX)
    wrong = wrong_writes()
    batch = cluster.run("a", put(address=at("before")), *wrong, put(address=at("after")), Inspect())
    first, *refused, last, status = batch.outcomes
    assert all(isinstance(outcome, InvalidInputError) for outcome in refused)
    assert [isinstance(outcome, list) for outcome in (first, last)] == [True, True]
    assert isinstance(status, ReplicaStatus)
    assert sorted(member.rows()) == [at("after"), at("before")]
    mixed = Write(USER, (Operation(at("good"), b"v"), Operation(at("bad"), b"v", ttl_ms=0)))
    assert isinstance(cluster.run("a", mixed).outcomes[0], InvalidInputError)
    assert at("good") not in member.rows()


@given(
    st.one_of(st.none(), st.binary(max_size=VALUE_BYTES_MAX + 2), st.text(max_size=3), st.integers()),
    st.one_of(st.none(), st.integers(), st.floats()),
    st.text(max_size=405),
)
def test_what_is_admitted_is_carried_and_kept_as_it_is(value: Any, ttl_ms: Any, key: str) -> None:
    address = b"t\0" + key.encode(errors="surrogatepass")
    happened = Write(USER, (Operation(address, value, ttl_ms=ttl_ms),))
    cluster = Cluster()
    member = cluster.start("a", value_bytes_max=VALUE_BYTES_MAX)
    [outcome] = cluster.run("a", happened).outcomes
    if isinstance(outcome, InvalidInputError):
        assert not member.rows()
        return
    assert isinstance(outcome, list)
    [written] = outcome
    assert isinstance(written, StoredWrite)
    copy = RowCopy(address, written.row)
    assert decode_row(encode_row(written.row)) == written.row
    envelope = Envelope("c", "m", 1, 1, 0, (Delta(USER, {}, (copy,)),))
    assert decode(encode(envelope), Limits()) == envelope


@pytest.mark.parametrize("name", ["member", "cluster", "zone"])
@pytest.mark.parametrize("text", ["", "n" * 256, "é" * 128, "\ud800", b"name", 7, ["name"]])
def test_names_that_no_message_can_carry_are_refused_at_the_start(name: str, text: Any) -> None:
    with pytest.raises(InvalidInputError, match=name):
        ReplicaOptions(**{name: text})


@pytest.mark.parametrize(
    "changed",
    [
        {"endpoints": {"gossip": "http://" + "h" * 2000}},
        {"endpoints": {"gossip": None}},
        {"endpoints": {7: "http://a"}},
        {"endpoints": "http://a"},
        {"gossip_interval_ms": math.nan},
        {"gossip_interval_ms": True},
        {"siblings_max": 10**30},
        {"message_life_ms": -1},
        {"version": "\ud800"},
    ],
)
def test_options_that_cannot_be_held_are_refused_at_the_start(changed: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        ReplicaOptions(**changed)


@pytest.mark.parametrize(
    "changed",
    [
        {"member": "no name"},
        {"member": "m" * 129},
        {"cluster": 7},
        {"zone": "z" * 256},
        {"zone": "\ud800"},
        {"gossip_interval_ms": 0},
        {"gossip_interval_ms": math.inf},
        {"gossip_interval_ms": True},
        {"value_bytes_max": 10**30},
        {"write_wait_s": math.nan},
        {"discovery": "other"},
    ],
)
def test_settings_that_a_program_gives_are_held_to_the_rules_of_a_file(changed: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=next(iter(changed))):
        check_each(Settings(**changed), "the program")


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"\xff",
        b"[]",
        b"7",
        b"null",
        b"[" * 100_000,
        b'{"w": 1e400}',
        b'{"w": -1, "r": 0}',
        b'{"w": ' + b"9" * 5_000 + b"}",
        b'{"w": 1' + b"0" * 400 + b', "r": true}',
        b'{"w": NaN, "r": Infinity}',
        b'{"w": "2", "r": [2], "conflicts": ["siblings"]}',
        b'{"conflicts": {}}',
        b'{"conflicts": "other"}',
    ],
)
def test_settings_that_are_stored_and_mean_nothing_are_at_their_defaults(stored: bytes) -> None:
    assert TableSettings.from_json(stored) == TableSettings()


def test_one_setting_that_means_nothing_changes_no_other() -> None:
    stored = b'{"conflicts": "siblings", "w": 1e400, "r": 2, "newer": true}'
    assert TableSettings.from_json(stored) == TableSettings(Conflicts.SIBLINGS, 1, 2)
    changed = TableSettings().changed({"conflicts": "siblings", "w": 3})
    assert TableSettings.from_json(changed.to_json()) == changed


GREATEST = Dot(REPLICA_MAX, SEQUENCE_MAX)
FULL = Context(dict.fromkeys(range(SEEN_ENTRIES_MAX), 1))


@pytest.mark.parametrize(
    "happened",
    [
        Write(USER, (Operation(at("k"), bytes(VALUE_BYTES_MAX)),)),
        Write(USER, (Operation(at("k"), None),), COPIES_MAX),
        Write(USER, (Operation(at("k"), b"", ("*", "etag"), True),)),
        Write(USER, (Operation(at("k"), b"", (), False),)),
        Write(USER, (Operation(at("k"), b"", ttl_ms=1), Operation(at("k"), b"", ttl_ms=LIFE_MS_MAX))),
        Write(USER, (Operation(at("k"), None, seen=Seen(Context(), 0, 0)),)),
        Write(USER, (Operation(at("k"), b"", seen=Seen(Context([GREATEST, (0, 1)]), TIMESTAMP_MAX, TIMESTAMP_MAX)),)),
        Write(USER, (Operation(at("k"), b"", seen=Seen(FULL, 5, 5)),)),
        Await(1, None),
        Await(-1, 1, Receipt(USER, GREATEST), {at("k"): Dot(0, 1)}, 10**15),
        Read(1, USER, at("k"), COPIES_MAX, -1),
        Withdraw(0),
        Locate(Receipt(USER, Dot(0, 1))),
        Discovered(()),
        Discovered(("memory://a",), frozenset(["a", "b"]), "zone"),
        Forget("a", is_forced=True),
        FollowChanges(is_watched=False),
    ],
)
def test_what_is_at_every_limit_is_admitted(happened: Input) -> None:
    admit(happened, VALUE_BYTES_MAX)


BEYOND = Context({**FULL, SEEN_ENTRIES_MAX: 1})


@pytest.mark.parametrize(
    "happened",
    [
        Write(USER, (Operation(at("k"), bytes(VALUE_BYTES_MAX + 1)),)),
        Write(USER, (Operation(at("k"), b"", ("etag", cast("str", 1))),)),
        Write(USER, (Operation(at("k"), b"", ttl_ms=LIFE_MS_MAX + 1),)),
        Write(USER, (Operation(at("k"), b"", seen=Seen(BEYOND, 5, 5)),)),
        Write(USER, (Operation(at("k"), b"", seen=Seen(Context({1: 1, 2: 0}), 5, 5)),)),
        Write(USER, (Operation(at("k"), b"", seen=Seen(Context({-1: 1}), 5, 5)),)),
        Write(USER, (Operation(at("k"), b"", seen=Seen(Context({REPLICA_MAX + 1: 1}), 5, 5)),)),
        Write(USER, (Operation(at("k"), b"", seen=Seen(Context({cast("int", 1.0): 1}), 5, 5)),)),
        Write(USER, (Operation(at("k"), b"", seen=Seen(Context(), 5, -1)),)),
        Write(USER, (Operation(at("k"), b"", seen=Seen(Context(), 5, 6)),)),
        Write(USER, (Operation(at("k"), b"", seen=Seen(Context(), TIMESTAMP_MAX + 1, 5)),)),
        Await(1, 1, None, cast("dict[bytes, Dot]", [at("k")])),
        Read(cast("int", "1"), USER, at("k"), 1),
        Read(1, USER, at("k"), 1, cast("int", 1.5)),
    ],
)
def test_what_is_just_beyond_a_limit_is_not_admitted(happened: Input) -> None:
    with pytest.raises(RequestError):
        admit(happened, VALUE_BYTES_MAX)
