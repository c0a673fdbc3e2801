"""One rule, every door: the same calls have the same results and the same errors, whichever door they come in by."""

from __future__ import annotations

import asyncio
import itertools
import math
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gossipkv import (
    Client,
    ClientError,
    ConditionFailedError,
    ContextRequiredError,
    Delete,
    InvalidArgumentError,
    Node,
    NotFoundError,
    Put,
    RefusedError,
    SyncClient,
    UnavailableError,
)
from gossipkv import TooFewCopiesError as CopiesError
from gossipkv.core.model.member import ALIVE
from gossipkv.core.model.write import Operation, Result
from gossipkv.core.model.write import StoredWrite as Stored
from gossipkv.core.waits.answers import Coverage, Holder, Receipt
from gossipkv.member.node import MemberNode as Driver
from gossipkv.member.waits import CopiesMissingError
from tests.contracts.command_door import CommandDoor
from tests.contracts.door import UNKNOWN_OPTION, Door, Line, RefusedCallError, Seen
from tests.contracts.doors import DEADLINE_SECONDS, VALUE_BYTES_MAX, ClientDoor, House, SyncDoor, house, joined
from tests.processes.members import free_port

DOORS = ("http", "client", "sync", "node", "command")
FOR_MANY_DOORS = pytest.mark.parametrize("door", DOORS[:4], indirect=True)
"""No command updates a row, or sends deletes and conditions in a batch."""
pytestmark = pytest.mark.asyncio(loop_scope="module")
_numbers = itertools.count()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def members(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with house(tmp_path_factory.mktemp("members")) as opened:
        yield opened


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest, members: House) -> Door:
    name: str = request.param
    return members.doors[name]


@pytest.fixture
def table() -> str:
    """A table of this test alone."""
    return f"t{next(_numbers)}"


# Rows


async def test_a_row_that_was_put_is_read_and_deleted(door: Door, table: str) -> None:
    assert await door.get(table, "k") is None
    written = await door.put(table, "k", b"\xff\0 bytes")
    found = await door.get(table, "k")
    assert found is not None
    # A command tells the context of a read alone.
    assert found == (b"\xff\0 bytes", (), written.etag, written.context or found.context)
    deleted = await door.delete(table, "k")
    assert (deleted.etag, deleted.receipt is None) == (None, False)
    assert await door.get(table, "k") is None
    await door.delete(table, "k")


@pytest.mark.parametrize("key", ["\0", "é" * 200, "k" * 400, "../..", ".", "a/b?c#d%e \u2028\U0010ffff", " k "])
async def test_a_key_is_any_text_of_400_bytes(door: Door, table: str, key: str) -> None:
    await door.put(table, key, b"v")
    assert (await _found(door, table, key))[0] == b"v"
    assert [row.row for row in await door.range(table)] == [key]


@pytest.mark.parametrize("value", [b"", bytes(VALUE_BYTES_MAX), bytearray(b"v"), memoryview(b"v-w")[::2]])
async def test_a_value_is_any_bytes_up_to_the_limit(door: Door, table: str, value: Any) -> None:
    content = bytes(value) if door.name in ("http", "command") else value
    await door.put(table, "k", content)
    assert (await _found(door, table, "k"))[0] == bytes(value)


@pytest.mark.parametrize("name", ["T" * 64, "..", "-", "A_b.c-9"])
async def test_a_table_has_any_name_of_64_letters(door: Door, name: str) -> None:
    await door.put(name, "k", b"v")
    assert (await _found(door, name, "k"))[0] == b"v"
    assert name in await door.tables()


async def test_conditions_are_about_the_row_as_it_is(door: Door, table: str) -> None:
    written = await door.put(table, "k", b"1", if_absent=True)
    assert written.etag is not None
    await _refused("precondition-failed", door.put(table, "k", b"2", if_absent=True), etag=written.etag)
    await _refused("precondition-failed", door.put(table, "k", b"2", if_match="zzz"), etag=written.etag)
    await _refused("precondition-failed", door.put(table, "k", b"2", if_match=f'W/"{written.etag}"'))
    await _refused("precondition-failed", door.put(table, "absent", b"2", if_match="*"), etag=None)
    await _refused("precondition-failed", door.delete(table, "k", if_match='"zzz","yyy"'), etag=written.etag)
    await door.put(table, "k", b"2", if_match=f'"zzz", "{written.etag}"')
    await door.put(table, "k", b"3", if_match="*")
    found = await _found(door, table, "k")
    assert found[0] == b"3"
    await door.delete(table, "k", if_match=found[2])


@pytest.mark.parametrize("ttl", ["1ms", "20ms"])
async def test_a_row_expires(door: Door, table: str, ttl: str) -> None:
    await door.put(table, "k", b"v", ttl=ttl)
    async with asyncio.timeout(DEADLINE_SECONDS):
        while await door.get(table, "k") is not None:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("ttl", ["1h", "36600d", "5m", "3600s", "900000ms"])
async def test_a_row_lives_until_then(door: Door, table: str, ttl: str) -> None:
    await door.put(table, "k", b"v", ttl=ttl)
    assert (await _found(door, table, "k"))[0] == b"v"


async def test_a_row_is_written_to_and_read_from_several_members(door: Door, members: House, table: str) -> None:
    written = await door.put(table, "k", b"v", w=2, write_wait="1m")
    there = members.nodes[1].table(table).get("k")
    assert there is not None
    assert there.value == b"v"
    await members.nodes[1].table(table).put("k", b"of the second member")
    assert (await _found(door, table, "k", r=2))[0] == b"of the second member"
    covered = await door.receipt(written.receipt, wait="all", within="1m")
    assert (covered["copies"], covered["complete"]) == (2, True)
    assert sorted(covered) == ["complete", "copies", "members", "receipt"]
    assert sorted(covered["members"][0]) == ["has_it", "member", "self", "status"]
    assert (await door.receipt(written.receipt, wait=2))["complete"]
    assert (await door.receipt(written.receipt))["receipt"] == written.receipt


async def test_more_members_than_there_are_cannot_be_asked(door: Door, table: str) -> None:
    await _refused("too-many-asked", door.put(table, "k", b"v", w=3), of=RefusedError)
    await _refused("too-many-asked", door.get(table, "k", r=3), of=RefusedError)
    assert await door.get(table, "k") is None


async def test_a_write_that_is_stored_on_too_few_members_says_so(
    door: Door, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Driver.write

    async def stored_here(node: Driver, shard: str, operations: Sequence[Operation], *_: object) -> list[Result]:
        results = await write(node, shard, operations)
        dots = [result.dot for result in results if isinstance(result, Stored)]
        holder = Holder("m0", ALIVE, True, node.identity.replica, True)
        raise CopiesMissingError(2, results, Coverage(Receipt(shard, dots[-1]), (holder,)))

    monkeypatch.setattr(Driver, "write", stored_here)
    refused = await _refused("too-few-copies", door.put(table, "k", b"v", w=2), stored=True, copies=1)
    assert refused.facts["receipt"].startswith("usr.")
    if refused.error is not None:
        assert isinstance(refused.error, CopiesError)
        assert (refused.error.may_stand, refused.error.copies) == (True, 1)
        assert refused.error.receipt == refused.facts["receipt"]
    if door.name == "command":
        await _refused("too-few-copies", door.delete(table, "k", w=2), stored=True, copies=1)
        return
    lines = await door.batch(table, [Put("a", b"1"), Put("b", b"1", etag="zzz"), Delete("k")], w=2)
    assert [line.problem for line in lines] == ["too-few-copies", "precondition-failed", "too-few-copies"]
    monkeypatch.undo()
    assert [row.row for row in await door.range(table)] == ["a"]


# Tables


async def test_settings_of_a_table_hold_at_every_door(door: Door, table: str) -> None:
    assert await door.describe(table) is None
    await door.configure(table, conflicts="siblings", w=2)
    await door.configure(table, r=2)
    described = await door.describe(table)
    assert described is not None
    assert described["settings"] == {"conflicts": "siblings", "w": 2, "r": 2}
    assert (described["table"], described["rows"]) == (table, 0)
    await door.put(table, "k", b"v")
    assert (await door.describe(table) or {})["rows"] == 1
    await door.drop(table)
    assert await door.get(table, "k") is None
    assert await door.describe(table) is None


async def test_settings_that_no_table_has_are_refused(door: Door, table: str) -> None:
    await _refused("unsupported-setting", door.configure(table, conflicts="first"), of=InvalidArgumentError)
    await _refused("unsupported-setting", door.configure(table, w=3), of=InvalidArgumentError, setting="w")
    await _refused("unsupported-setting", door.configure(table, r=3), of=InvalidArgumentError, setting="r")
    assert await door.describe(table) is None


async def test_siblings_are_read_together_and_replaced_by_their_context(door: Door, table: str) -> None:
    await door.configure(table, conflicts="siblings")
    await door.put(table, "k", b"a")
    await door.put(table, "k", b"b")
    found = await door.get(table, "k")
    assert found is not None
    assert (found.value, found.siblings) == (None, (b"b", b"a"))
    await _refused("context-required", door.delete(table, "k"), of=ContextRequiredError)
    await _refused("invalid-context", door.put(table, "other", b"x", context=found.context), of=InvalidArgumentError)
    await door.put(table, "k", b"ab", context=found.context)
    merged = await _found(door, table, "k")
    assert merged[0] == b"ab"
    await door.delete(table, "k", context=merged[3])
    assert await door.get(table, "k") is None


async def test_the_namespace_of_the_store_is_read_and_never_written(door: Door, table: str) -> None:
    assert (await _found(door, "members", "m0", namespace="sys"))[0]
    assert [row.row for row in await door.range("members", namespace="sys")] == ["m0", "m1"]
    assert "members" in await door.tables("sys")
    for call in (
        door.put("members", "m0", b"v", namespace="sys"),
        door.delete("members", "m0", namespace="sys"),
        *([] if door.name == "command" else [door.batch("members", [Delete("m0")], namespace="sys")]),
        door.configure("members", conflicts="siblings", namespace="sys"),
        door.drop("members", namespace="sys"),
    ):
        await _refused("read-only-namespace", call, of=RefusedError)
    for unknown in ("", "users", "USR"):
        await _refused("unknown-namespace", door.get(table, "k", namespace=unknown), of=NotFoundError)
        await _refused("unknown-namespace", door.put(table, "k", b"v", namespace=unknown), of=NotFoundError)


async def test_a_function_that_resolves_siblings_returns_bytes(members: House, table: str) -> None:
    await members.doors["node"].configure(table, conflicts="siblings")
    for value in (b"a", b"b"):
        await members.doors["node"].put(table, "k", value)
    join: Any = "+".join
    no_function: Any = "first"
    async with Client([members.url]) as client:
        for program in (client, members.nodes[0]):
            with pytest.raises(InvalidArgumentError, match="`resolve` is a function, not 'first'"):
                program.table(table, resolve=no_function)
            merged = program.table(table, resolve=lambda values: join(each.decode() for each in values))
            with pytest.raises(InvalidArgumentError, match="`value` is bytes, not 'b\\+a'"):
                await merged.update("k", lambda value: value)
            with pytest.raises(InvalidArgumentError, match="`value` is bytes"):
                [row async for row in merged.range()]


# Many rows

KEYS = ["a", "a0", "ab", "abc", "b", "ba", "é", "\U0010ffff"]
BOUNDS: list[tuple[dict[str, str], list[str]]] = [
    ({}, KEYS),
    ({"prefix": ""}, KEYS),
    ({"prefix": "a"}, ["a", "a0", "ab", "abc"]),
    ({"prefix": "ab"}, ["ab", "abc"]),
    ({"prefix": "abc"}, ["abc"]),
    ({"prefix": "abcd"}, []),
    ({"prefix": "\U0010ffff"}, ["\U0010ffff"]),
    ({"start": "ab"}, KEYS[2:]),
    ({"start": "\U0010ffff\0"}, []),
    ({"end": "ab"}, ["a", "a0"]),
    ({"end": ""}, KEYS),
    ({"end": "a"}, []),
    ({"start": "a0", "end": "b"}, ["a0", "ab", "abc"]),
    ({"start": "b", "end": "a"}, []),
    ({"start": "ab", "end": "ab"}, []),
    ({"prefix": "a", "end": "ab"}, ["a", "a0"]),
    ({"prefix": "a", "end": "z"}, ["a", "a0", "ab", "abc"]),
    ({"prefix": "b", "end": "a"}, []),
    ({"prefix": "a", "start": "ab"}, ["ab", "abc"]),
    ({"prefix": "b", "start": "a"}, ["b", "ba"]),
    ({"prefix": "a", "start": "b"}, []),
    ({"prefix": "a", "start": "a0", "end": "abc"}, ["a0", "ab"]),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def listed(members: House) -> str:
    for key in KEYS:
        await members.nodes[0].table("listed").put(key, key.encode())
    await members.nodes[0].table("listed").delete("a0 deleted")
    await members.nodes[0].table("listeda").put("a", b"of the next table")
    return "listed"


@pytest.mark.parametrize(("bounds", "keys"), BOUNDS, ids=str)
async def test_rows_are_listed_within_their_bounds(
    door: Door, listed: str, bounds: dict[str, str], keys: list[str]
) -> None:
    rows = await door.range(listed, **bounds)
    assert [(row.row, row.value) for row in rows] == [(key, key.encode()) for key in keys]
    assert all(row.etag and row.context is None and not row.siblings for row in rows)
    assert await door.range(listed, page_rows=10_000, **bounds) == rows
    paged = await door.range(listed, page_rows=1, keys_only=True, **bounds)
    assert [(row.row, row.value, row.etag) for row in paged] == [(row.row, None, row.etag) for row in rows]


async def test_keys_alone_are_listed_of_rows_with_siblings(door: Door, table: str) -> None:
    await door.configure(table, conflicts="siblings")
    for value in (b"a", b"b"):
        await door.put(table, "k", value)
    [key] = await door.range(table, keys_only=True)
    assert (key.row, key.value, key.context, key.siblings) == ("k", None, None, ())


@FOR_MANY_DOORS
async def test_a_batch_has_an_outcome_for_each_operation(door: Door, table: str) -> None:
    read = await door.put(table, "read", b"1")
    operations = [
        Put("a", b"1"),
        Put("a", b"2", etag="zzz"),
        Put("", b"1"),
        Put("k" * 401, b"1"),
        Put("large", bytes(VALUE_BYTES_MAX + 1)),
        Put("largest", b"\xff" * VALUE_BYTES_MAX),
        Put("life", b"1", ttl="0s"),
        Put("condition", b"1", etag='a"b'),
        Put("of another row", b"1", context=read.context),
        Put("read", b"2", etag=read.etag, context=read.context, ttl="1h"),
        Delete("a"),
        Delete("absent"),
        Delete("absent", etag="*"),
    ]
    lines = await door.batch(table, operations)
    assert lines == [
        Line("a", "", True, True),
        Line("a", "precondition-failed", False, False),
        Line("", "invalid-row-key", False, False),
        Line("k" * 401, "invalid-row-key", False, False),
        Line("large", "value-too-large", False, False),
        Line("largest", "", True, True),
        Line("life", "invalid-parameter", False, False),
        Line("condition", "invalid-condition", False, False),
        Line("of another row", "invalid-context", False, False),
        Line("read", "", True, True),
        Line("a", "", False, True),
        Line("absent", "", False, True),
        Line("absent", "precondition-failed", False, False),
    ]
    assert [row.row for row in await door.range(table)] == ["largest", "read"]
    assert (await _found(door, table, "read"))[0] == b"2"


async def test_a_batch_of_more_rows_than_a_request_holds_is_written_in_order(door: Door, table: str) -> None:
    lines = await door.batch(table, [Put(f"{number % 700:03}", b"%d" % number) for number in range(1_200)])
    assert [line.problem for line in lines] == [""] * 1_200
    rows = await door.range(table, page_rows=1_000)
    assert [row.value for row in rows] == [b"%d" % (n + 700 if n < 500 else n) for n in range(700)]


async def test_an_import_rejects_the_lines_that_a_batch_refuses(door: Door, table: str) -> None:
    keys = ("a", "", "k" * 401, "z")
    lines = await door.batch(table, [*(Put(key, b"v") for key in keys), Put("large", bytes(VALUE_BYTES_MAX + 1))])
    assert [line.problem for line in lines] == ["", "invalid-row-key", "invalid-row-key", "", "value-too-large"]
    assert [row.row for row in await door.range(table)] == ["a", "z"]


@FOR_MANY_DOORS
async def test_a_batch_waits_for_copies_and_asks_for_no_more_than_there_are(door: Door, table: str) -> None:
    assert [line.problem for line in await door.batch(table, [Put("a", b"1")], w=2, write_wait="1m")] == [""]
    lines = await door.batch(table, [Put("b", b"1"), Delete("a")], w=3)
    assert [line.problem for line in lines] == ["too-many-asked", "too-many-asked"]
    assert [row.row for row in await door.range(table)] == ["a"]
    assert await door.batch(table, []) == []


@FOR_MANY_DOORS
async def test_an_update_repeats_what_another_writer_undid(door: Door, members: House, table: str) -> None:
    await door.update(table, "k", lambda value: (value or b"") + b"a", ttl="1h")
    loop = asyncio.get_running_loop()
    read: list[bytes | None] = []

    async def interfere() -> None:
        if len(read) == 1:
            await members.nodes[0].table(table).put("k", b"b")

    async def change(value: bytes | None) -> bytes:
        read.append(value)
        await interfere()
        return (value or b"") + b"c"

    def change_in_thread(value: bytes | None) -> bytes:
        return asyncio.run_coroutine_threadsafe(change(value), loop).result(DEADLINE_SECONDS)

    written = await door.update(table, "k", change_in_thread if door.name == "sync" else change)
    assert written is not None
    assert read == [b"a", b"b"]
    found = await _found(door, table, "k")
    assert (found[0], found[2]) == (b"bc", written.etag)


@FOR_MANY_DOORS
async def test_an_update_deletes_a_row_for_which_there_is_no_value(door: Door, table: str) -> None:
    assert await door.update(table, "k", lambda _: None) is None
    await door.put(table, "k", b"v")
    assert await door.update(table, "k", lambda _: None) is not None
    assert await door.get(table, "k") is None
    written = await door.update(table, "k", lambda value: b"again" if value is None else b"wrong")
    assert written is not None
    assert (await _found(door, table, "k"))[0] == b"again"


@pytest.mark.parametrize("door", ["client", "sync", "node"], indirect=True)
async def test_a_wrong_operation_of_a_batch_has_its_error_and_the_others_are_carried_out(
    door: Door, table: str
) -> None:
    wrong: list[Any] = [
        Put(7, b"v"),  # type: ignore[arg-type]
        Put(None, b"v"),  # type: ignore[arg-type]
        Delete(b"k"),  # type: ignore[arg-type]
        Put("\ud800", b"v"),
        Put("k", None),  # type: ignore[arg-type]
        Put("k", "text"),  # type: ignore[arg-type]
        Put("k", b"v", ttl=math.nan),
        Put("k", b"v", etag=7),  # type: ignore[arg-type]
        Put("k", b"v", context=7),  # type: ignore[arg-type]
        Put("k", b"v", context="a" * 20_000),
        ("k", b"v"),
        "k",
        None,
    ]
    lines = await door.batch(table, [*wrong, Put("right", b"v")])
    assert [line.problem for line in lines] == [
        *["invalid-row-key"] * 4,
        *["invalid-parameter"] * 3,
        "invalid-condition",
        *["invalid-context"] * 2,
        *["invalid-parameter"] * 3,
        "",
    ]
    assert [row.row for row in await door.range(table)] == ["right"]


async def test_a_put_of_no_value_deletes_nothing(members: House, table: str) -> None:
    for name in OBJECTS:
        await members.doors[name].put(table, "k", b"v")
        await _refused("invalid-parameter", members.doors[name].put(table, "k", None), of=InvalidArgumentError)
        assert (await _found(members.doors[name], table, "k"))[0] == b"v"


@pytest.mark.parametrize("limit", [1, 2, 7, 8, 9, 10_000])
@pytest.mark.parametrize("name", ["http", "client", "node", "command"])
async def test_pages_end_at_their_limit(members: House, listed: str, name: str, limit: int) -> None:
    door = members.doors[name]
    assert [row.row for row in await door.pages(listed, limit=limit)] == KEYS[:limit]
    rows = await door.pages(listed, limit=limit, start="a0", keys_only=True)
    assert [(row.row, row.value) for row in rows] == [(key, None) for key in KEYS[1:]][:limit]


# The cluster


async def test_the_cluster_is_told_of(door: Door) -> None:
    told = await door.cluster()
    assert told["cluster"] == "gossipkv"
    assert [(each["member"], each["status"]) for each in told["members"]] == [("m0", "alive"), ("m1", "alive")]
    if door.name == "command":
        assert [each["figures"] is not None for each in told["members"]] == [True, False]
        return
    assert (told["member"], told["ready"], told["alone_seconds"]) == ("m0", True, None)
    assert [each["self"] for each in told["members"]] == [True, False]
    assert {shard: sorted(held) for shard, held in told["members"][1]["shards"].items()} == {
        shard: ["fingerprint", "heard_seconds", "last_sync_seconds", "rows", "rows_behind", "tombstones"]
        for shard in ("sys", "usr")
    }


async def test_only_another_member_that_is_gone_can_be_forgotten(door: Door) -> None:
    for force in (True, False):
        await _refused("own-member", door.forget("m0", force=force), of=RefusedError)
        await _refused("member-answers", door.forget("m1", force=force), of=RefusedError)
        await _refused("member-not-found", door.forget("m2", force=force), of=NotFoundError)
    for name in ("m", "M0", "m0 ", "..", "a/b", "?", "\x1b", "é"):
        await _refused("member-not-found", door.forget(name), of=NotFoundError)


async def test_a_member_that_is_gone_is_forgotten(door: Door, members: House, tmp_path: Path) -> None:
    name = f"gone-{door.name}"
    async with joined(members, tmp_path, name) as member:
        await member.table("members").put("k", b"v", w=3, write_wait="1m")
    await _refused("member-heard", door.forget(name), of=RefusedError)
    await door.forget(name, force=True)
    assert [each["member"] for each in (await door.cluster())["members"]] == ["m0", "m1"]
    await _refused("member-not-found", door.forget(name), of=NotFoundError)


# Watches


async def test_a_watch_tells_the_rows_there_are_and_goes_on_after_any_change(door: Door, table: str) -> None:
    for key in ("a", "b", "ba"):
        await door.put(table, key, key.encode())
    seen, event_id = await _watched(door.watch(table, 3, prefix="b", snapshot=True))
    assert seen == [Seen("put", "b", b"b"), Seen("put", "ba", b"ba"), Seen("current", "")]
    await door.put(table, "a", b"not watched")
    await door.put(table, "b", b"\xff")
    await door.delete(table, "ba")
    await door.put(table, "bb", b"v", ttl="1ms")
    seen, later_id = await _watched(door.watch(table, 3, prefix="b", since=event_id))
    assert seen[:2] == [Seen("put", "b", b"\xff"), Seen("delete", "ba")]
    assert seen[2].row == "bb"
    await _until_gone(door, table, "bb")
    await door.put(table, "b", b"last")
    seen, _ = await _watched(door.watch(table, 1, prefix="b", since=event_id))
    assert seen == [Seen("delete", "ba")]
    seen, _ = await _watched(door.watch(table, 1, prefix="b", since="anew"))
    assert seen == [Seen("reset", "")]
    # Earlier versions gave out longer ids than any of this one.
    seen, _ = await _watched(door.watch(table, 1, prefix="b", since="x" * 5_000))
    assert seen == [Seen("reset", "")]
    assert later_id != event_id


async def test_a_watch_tells_what_is_written_while_it_runs(door: Door, table: str) -> None:
    watching = asyncio.create_task(_watched(door.watch(table, 1)))
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not watching.done():
            await door.put(table, "k", b"v")
            await asyncio.sleep(0.02)
    assert (await watching)[0] == [Seen("put", "k", b"v")]


async def test_a_watch_of_siblings_tells_all_values_and_a_context(door: Door, table: str) -> None:
    await door.configure(table, conflicts="siblings")
    await door.put(table, "k", b"a")
    await door.put(table, "k", b"b")
    seen, _ = await _watched(door.watch(table, 2, snapshot=True))
    assert seen == [Seen("put", "k", b"b", (b"b", b"a"), True), Seen("current", "")]


# What is refused


@dataclass(frozen=True)
class Wrong:
    """A call that no door carries out."""

    problem: str
    call: Callable[[Door, str], Awaitable[Any]]
    doors: tuple[str, ...] = DOORS
    """Those that have words for it."""


WORDS = ("client", "sync", "node", "command")
"""A request over HTTP cannot say it."""
REQUESTS = ("http", "client", "sync", "node")
"""A command line cannot say it."""
OBJECTS = ("client", "sync", "node")
"""Programs alone can say it."""
TEXT = ("http", "command")
"""All arguments are text there."""
PAGED = ("http", "client", "node", "command")
"""SyncClient has no pages."""


def _put(problem: str, *, doors: tuple[str, ...] = DOORS, key: Any = "k", value: Any = b"v", **options: Any) -> Wrong:
    return Wrong(problem, lambda door, table: door.put(table, key, value, **options), doors)


def _get(r: Any, doors: tuple[str, ...] = DOORS) -> Wrong:
    return Wrong("invalid-parameter", lambda door, table: door.get(table, "k", r=r), doors)


def _range(problem: str, *, doors: tuple[str, ...] = DOORS, **bounds: Any) -> Wrong:
    return Wrong(problem, lambda door, table: door.range(table, **bounds), doors)


def _pages(problem: str, *, doors: tuple[str, ...] = PAGED, **bounds: Any) -> Wrong:
    return Wrong(problem, lambda door, table: door.pages(table, **bounds), doors)


def _named(name: Any, doors: tuple[str, ...] = DOORS) -> Wrong:
    return Wrong("invalid-table-name", lambda door, _: door.put(name, "k", b"v"), doors)


def _watch(problem: str, *, doors: tuple[str, ...] = DOORS, **options: Any) -> Wrong:
    return Wrong(problem, lambda door, table: door.watch(table, 1, **options), doors)


def _set(doors: tuple[str, ...] = DOORS, **settings: Any) -> Wrong:
    return Wrong("unsupported-setting", lambda door, table: door.configure(table, **settings), doors)


def _receipt(problem: str, receipt: Any = "usr.0123456789abcdef.1", doors: tuple[str, ...] = DOORS, **o: Any) -> Wrong:
    return Wrong(problem, lambda door, _: door.receipt(receipt, **o), doors)


def _forget(problem: str, member: Any = "m1", doors: tuple[str, ...] = DOORS, **options: Any) -> Wrong:
    return Wrong(problem, lambda door, _: door.forget(member, **options), doors)


def _batch(problem: str, operations: Any, doors: tuple[str, ...] = REQUESTS, **options: Any) -> Wrong:
    return Wrong(problem, lambda door, table: door.batch(table, operations, **options), doors)


def _update(problem: str, change: Any, key: str = "k", doors: tuple[str, ...] = REQUESTS, **options: Any) -> Wrong:
    return Wrong(problem, lambda door, table: door.update(table, key, change, **options), doors)


PARAMETER, CONDITION, CONTEXT = "invalid-parameter", "invalid-condition", "invalid-context"
ROW, TABLE = "invalid-row-key", "invalid-table-name"
LONG = "k" * 401

MEMBER = "invalid-member-name"
RECEIPT = "invalid-receipt"
PUT = [Put("k", b"v")]
LONG_TEXT = "a" * 20_000


def _value(_: bytes | None) -> bytes:
    return b"v"


WRONG = {
    "an empty key": _put(ROW, key=""),
    "a key of 401 bytes": _put(ROW, key=LONG),
    "a key of 401 bytes in fewer characters": _put(ROW, key="é" * 200 + "x"),
    "a key of bytes": _put(ROW, key=b"k", doors=OBJECTS),
    "a key that is a number": _put(ROW, key=7, doors=OBJECTS),
    "no key": _put(ROW, key=None, doors=OBJECTS),
    "a key with half of a surrogate pair": _put(ROW, key="\udcff", doors=WORDS),
    "a read of an empty key": Wrong(ROW, lambda door, table: door.get(table, "")),
    "a delete of an empty key": Wrong(ROW, lambda door, table: door.delete(table, "")),
    "an empty table": _named(""),
    "a table of 65 letters": _named("t" * 65),
    "a table with a space": _named("no name"),
    "a table outside ASCII": _named("tä"),
    "a table of two lines": _named("t\n"),
    "a table of a control character": _named("t\x1b"),
    "a table with half of a surrogate pair": _named("\udcff", WORDS),
    "no table": _named(None, OBJECTS),
    "a table that is a flag": _named(True, OBJECTS),
    "a table of bytes": _named(b"t", OBJECTS),
    "a list of an empty table": Wrong(TABLE, lambda door, _: door.range("")),
    "a watch of an empty table": Wrong(TABLE, lambda door, _: door.watch("", 1)),
    "a description of an empty table": Wrong(TABLE, lambda door, _: door.describe("")),
    "settings of an empty table": Wrong(TABLE, lambda door, _: door.configure("", w=1)),
    "an empty table that is dropped": Wrong(TABLE, lambda door, _: door.drop("")),
    "a namespace of 401 bytes": Wrong(PARAMETER, lambda d, t: d.get(t, "k", namespace="n" * 401), REQUESTS),
    "no namespace": Wrong(PARAMETER, lambda d, t: d.get(t, "k", namespace=None), OBJECTS),
    "a namespace of bytes": Wrong(PARAMETER, lambda d, t: d.put(t, "k", b"v", namespace=b"usr"), OBJECTS),
    "tables of no namespace": Wrong(PARAMETER, lambda d, _: d.tables(None), OBJECTS),
    "tables of half of a surrogate pair": Wrong(PARAMETER, lambda d, _: d.tables("\udcff"), OBJECTS),
    "tables of an unknown namespace": Wrong("unknown-namespace", lambda d, _: d.tables("users")),
    "a description in an unknown namespace": Wrong("unknown-namespace", lambda d, t: d.describe(t, namespace="users")),
    "a value that is too large": _put("value-too-large", value=bytes(VALUE_BYTES_MAX + 1)),
    "a value of text": _put(PARAMETER, value="text", doors=OBJECTS),
    "a value that is a number": _put(PARAMETER, value=7, doors=OBJECTS),
    "a value that is a list": _put(PARAMETER, value=[b"v"], doors=OBJECTS),
    "no value": _put(PARAMETER, value=None, doors=OBJECTS),
    **{f"a life of {ttl!r}": _put(PARAMETER, ttl=ttl) for ttl in ("", "0s", "0ms", "-1s", "30", "1w", "1.5s", "1 s")},
    **{f"a life of {ttl!r}": _put(PARAMETER, ttl=ttl) for ttl in ("nan", "inf", "36601d", "1H", "٣s", "9" * 400 + "s")},
    **{
        f"a life of {ttl!r}": _put(PARAMETER, ttl=ttl, doors=OBJECTS)
        for ttl in (0, -1, True, math.nan, math.inf, 10**400, 0.0001, timedelta(0), timedelta.max, b"1s", [1], "\ud800")
    },
    **{f"copies of {w!r}": _put(PARAMETER, w=w) for w in (0, -1, 1_001, 10**30)},
    **{f"copies of {w!r}": _put(PARAMETER, w=w, doors=OBJECTS) for w in (True, 1.0, "2", math.nan, [2], b"2")},
    **{f"copies of {w!r}, as text": _put(PARAMETER, w=w, doors=TEXT) for w in ("", "two", "1.0", "+2", "٣")},
    "copies of a delete": Wrong(PARAMETER, lambda door, table: door.delete(table, "k", w=0)),
    **{f"a wait of {wait!r}": _put(PARAMETER, w=1, write_wait=wait) for wait in ("61m", "-1s", "soon", "", "1")},
    **{
        f"a wait of {wait!r}": _put(PARAMETER, w=1, write_wait=wait, doors=OBJECTS)
        for wait in (-1.0, 3_601, math.nan, True, timedelta(hours=2), timedelta(-1))
    },
    "a condition with a quote within": _put(CONDITION, if_match='a"b'),
    "a condition of no tag": _put(CONDITION, if_match='"a" "b"'),
    "a condition of nothing between commas": _put(CONDITION, if_match='"a",,"b"'),
    "a condition that is longer than a header": _put(CONDITION, if_match=LONG_TEXT),
    "a condition that is a number": _put(CONDITION, if_match=7, doors=OBJECTS),
    "a condition of bytes": _put(CONDITION, if_match=b"a", doors=OBJECTS),
    "a condition of a list": _put(CONDITION, if_match=["a"], doors=OBJECTS),
    "a condition that ends a header": _put(CONDITION, if_match='a\r\nX: "b"', doors=WORDS),
    "a condition of half of a surrogate pair": _put(CONDITION, if_match="\udcff", doors=WORDS),
    "an absence that is text": _put(CONDITION, if_absent="no", doors=OBJECTS),
    "an absence that is a number": _put(CONDITION, if_absent=1, doors=OBJECTS),
    "a context that is no base64": _put(CONTEXT, context="!" * 32),
    "a context of nothing": _put(CONTEXT, context=""),
    "a context of another row": _put(CONTEXT, context="A" * 54),
    "a context that is longer than a header": _put(CONTEXT, context=LONG_TEXT),
    "a context of bytes": _put(CONTEXT, context=b"AAAA", doors=OBJECTS),
    "a context that ends a header": _put(CONTEXT, context="AAAA\r\nX: y", doors=WORDS),
    "a flag that is a number": _put(PARAMETER, idempotent=1, doors=OBJECTS),
    "an unknown option of a put": _put(UNKNOWN_OPTION, tll="5s"),
    "an absence in a delete": Wrong(UNKNOWN_OPTION, lambda d, t: d.delete(t, "k", if_absent=True), WORDS),
    "a life of a delete": Wrong(UNKNOWN_OPTION, lambda door, table: door.delete(table, "k", ttl="5s")),
    **{f"answers of {r!r}": _get(r) for r in (0, -1, 1_001, 10**30)},
    **{f"answers of {r!r}": _get(r, OBJECTS) for r in (True, 1.0, "2", math.nan)},
    **{f"answers of {r!r}, as text": _get(r, TEXT) for r in ("", "two", "1.0")},
    "a prefix of 401 bytes": _range(PARAMETER, prefix=LONG),
    "a start of 401 bytes": _range(PARAMETER, start=LONG),
    "an end of 401 bytes": _range(PARAMETER, end=LONG),
    "a prefix of bytes": _range(PARAMETER, prefix=b"a", doors=OBJECTS),
    "an end that is a number": _range(PARAMETER, end=7, doors=OBJECTS),
    "a start with half of a surrogate pair": _range(PARAMETER, start="\udcff", doors=WORDS),
    "pages of more rows than any member gives": _range(PARAMETER, page_rows=10_001, doors=REQUESTS),
    "pages of no rows": _range(PARAMETER, page_rows=0, doors=REQUESTS),
    "pages of a flag": _range(PARAMETER, page_rows=True, doors=OBJECTS),
    "pages of text": _range(PARAMETER, page_rows="10", doors=OBJECTS),
    "keys only, as text": _range(PARAMETER, keys_only="yes"),
    "keys only, as a number": _range(PARAMETER, keys_only=1),
    "an unknown bound": _range(UNKNOWN_OPTION, perfix="a"),
    **{f"a limit of {limit!r}": _pages(PARAMETER, limit=limit) for limit in (0, -1, 2**53 + 1, 10**30)},
    **{
        f"a limit of {limit!r}": _pages(PARAMETER, limit=limit, doors=("client", "node"))
        for limit in (True, "10", 1.0, math.nan, [1])
    },
    **{f"a limit of {limit!r}, as text": _pages(PARAMETER, limit=limit, doors=TEXT) for limit in ("", "ten")},
    "a limit and a long prefix": _pages(PARAMETER, limit=1, prefix=LONG),
    "an unknown bound of pages": _pages(UNKNOWN_OPTION, limti=1),
    "a batch with no copies": _batch(PARAMETER, PUT, w=0),
    "a batch that waits for two hours": _batch(PARAMETER, PUT, write_wait="2h"),
    "a batch with a flag of text": _batch(PARAMETER, PUT, OBJECTS, idempotent="yes"),
    "a batch of nothing that can be iterated": _batch(PARAMETER, None, OBJECTS),
    "an unknown option of a batch": _batch(UNKNOWN_OPTION, PUT, DOORS, ttl="1s"),
    "a batch to an empty table": Wrong(TABLE, lambda door, _: door.batch("", PUT)),
    "an update without a function": _update(PARAMETER, None, doors=OBJECTS),
    "an update to text": _update(PARAMETER, lambda _: "text", doors=OBJECTS),
    "an update of no attempts": _update(PARAMETER, _value, attempts_max=0, doors=OBJECTS),
    "an update with a life of nothing": _update(PARAMETER, _value, ttl="0s"),
    "an update with no copies": _update(PARAMETER, _value, w=0),
    "an update of an empty key": _update(ROW, _value, key=""),
    "a watch of a long prefix": _watch(PARAMETER, prefix=LONG),
    "a watch of a prefix of bytes": _watch(PARAMETER, prefix=b"a", doors=OBJECTS),
    "a watch of half of a surrogate pair": _watch(PARAMETER, prefix="\udcff", doors=WORDS),
    "a watch since no event": _watch(PARAMETER, since="not an id"),
    "a watch since a number": _watch(PARAMETER, since=7),
    "a watch since bytes": _watch(PARAMETER, since=b"7", doors=OBJECTS),
    "a watch since the end of a header": _watch(PARAMETER, since="a\r\nX: y", doors=WORDS),
    "a watch with a snapshot of text": _watch(PARAMETER, snapshot="maybe"),
    "a watch with a snapshot of a number": _watch(PARAMETER, snapshot=1),
    "an unknown option of a watch": _watch(UNKNOWN_OPTION, start="a"),
    "settings of no copies": _set(w=0),
    "settings of too many copies": _set(w=1_001),
    "settings of negative answers": _set(r=-1),
    "settings of a flag": _set(REQUESTS, r=True),
    "settings of a number as text": _set(REQUESTS, w="2"),
    "settings of a word": _set(w="two"),
    "settings of a kind that is a number": _set(conflicts=7),
    "settings of a kind that is empty": _set(conflicts=""),
    "settings that are not known": Wrong(UNKNOWN_OPTION, lambda d, t: d.configure(t, copies=2), WORDS),
    "a receipt of nothing known": _receipt(RECEIPT, "usr.1.1"),
    "an empty receipt": _receipt(RECEIPT, ""),
    "a receipt in capitals": _receipt(RECEIPT, "usr.0123456789ABCDEF.1"),
    "a receipt of an unknown namespace": _receipt(RECEIPT, "users.0123456789abcdef.1"),
    "a receipt of steps": _receipt(RECEIPT, "..", WORDS),
    "a receipt that is longer than a path": _receipt(RECEIPT, LONG_TEXT, WORDS),
    "a receipt of half of a surrogate pair": _receipt(RECEIPT, "\udcff", WORDS),
    "a receipt that is a number": _receipt(RECEIPT, 7, OBJECTS),
    "no receipt": _receipt(RECEIPT, None, OBJECTS),
    **{
        f"a receipt for {wait!r} members": _receipt(PARAMETER, wait=wait)
        for wait in (0, -1, 1_001, "some", "", "ALL", "٣")
    },
    **{
        f"a receipt for {wait!r} members": _receipt(PARAMETER, wait=wait, doors=OBJECTS)
        for wait in (True, 1.0, [1], b"1")
    },
    **{
        f"a receipt within {within!r}": _receipt(PARAMETER, wait=1, within=within)
        for within in ("1d", "", "-1s", "soon")
    },
    **{
        f"a receipt within {within!r}": _receipt(PARAMETER, wait=1, within=within, doors=OBJECTS)
        for within in (-1, True, math.nan, b"1s")
    },
    "a receipt without a wait, within a day": _receipt(PARAMETER, within="1d"),
    "an unknown option of a receipt": _receipt(UNKNOWN_OPTION, within="1s", w=1),
    "an unknown option of the cluster": Wrong(UNKNOWN_OPTION, lambda door, _: door.cluster(left="yes")),
    "a member without a name": _forget(MEMBER, ""),
    "a member of 256 bytes": _forget(MEMBER, "m" * 256),
    "a member of 256 bytes in fewer characters": _forget(MEMBER, "é" * 128),
    "a member of half of a surrogate pair": _forget(MEMBER, "\udcff", WORDS),
    "a member of bytes": _forget(MEMBER, b"m1", OBJECTS),
    "a member that is a number": _forget(MEMBER, 1, OBJECTS),
    "no member": _forget(MEMBER, None, OBJECTS),
    "a member forgotten by text": _forget(PARAMETER, force="yes"),
    "a member forgotten by a number": _forget(PARAMETER, force=1),
    "an unknown option of forgetting": _forget(UNKNOWN_OPTION, forced=True),
}


@pytest.mark.parametrize(
    ("name", "case"),
    [(name, case) for case in WRONG for name in WRONG[case].doors],
)
async def test_what_is_wrong_is_refused_in_the_same_words(members: House, table: str, name: str, case: str) -> None:
    wrong = WRONG[case]
    of = {UNKNOWN_OPTION: TypeError, "unknown-namespace": NotFoundError}.get(wrong.problem, InvalidArgumentError)
    await _refused(wrong.problem, wrong.call(members.doors[name], table), of=of)
    assert members.nodes[0].table(table).get("k") is None


async def test_a_member_that_has_stopped_is_not_available(tmp_path: Path, table: str) -> None:
    async with house(tmp_path) as opened:
        stopped = opened.doors["node"]
        await stopped.put(table, "k", b"v")
        watching = asyncio.create_task(stopped.watch(table, 1))
        await asyncio.sleep(0)
    await _refused("stopping", stopped.put(table, "k", b"v"), of=UnavailableError)
    await _refused("stopping", watching, of=UnavailableError)
    await _refused("overloaded", stopped.get(table, "k"), of=UnavailableError)


async def test_a_door_that_is_not_open_says_so(members: House, tmp_path: Path) -> None:
    async def calls(program: Any) -> None:
        """Of a Node, a Client or a SyncClient."""
        of_cluster: list[Callable[[], Any]] = [
            program.tables,
            program.cluster,
            lambda: program.forget("m1"),
            lambda: program.receipt("usr.0123456789abcdef.1"),
        ]
        of_table: list[Callable[[], Any]] = [
            lambda: program.table("t").put("k", b"v"),
            lambda: program.table("t").describe(),
        ]
        for call in [*of_cluster, *of_table]:
            with pytest.raises(RefusedError, match=r"is not (open|started): use it within"):
                await asyncio.to_thread(call) if program is sync else await call()

    node = Node(data_dir=tmp_path / "m", member="m", gossip_port=free_port(), bootstrap_timeout_ms=1)
    assert (node.is_ready, node.alone_seconds) == (False, None)
    sync = SyncClient([members.url])
    for program in (node, Client([members.url]), sync):
        await calls(program)
    client = Client([members.url])
    for _ in range(2):
        async with client:
            await client.tables()
            with pytest.raises(RefusedError, match="open already"):
                await client.__aenter__()
        await calls(client)
        with sync:
            await asyncio.to_thread(sync.tables)
            with pytest.raises(RefusedError, match="open already"):
                sync.__enter__()
        await calls(sync)


async def test_a_function_that_uses_the_client_whose_thread_it_is_on_is_refused(members: House, table: str) -> None:
    def update() -> None:
        with SyncClient([members.url]) as client:
            at = client.table(table)

            def change(_: bytes | None) -> bytes:
                at.put("k", b"v")
                return b"v"

            with pytest.raises(RefusedError, match="on the client's own thread"):
                at.update("k", change)

    await asyncio.to_thread(update)


async def test_of_two_servers_one_of_which_is_down_the_other_is_asked(members: House, table: str) -> None:
    urls = ["http://127.0.0.1:1", members.url]
    async with Client(urls) as client:
        for _ in range(4):
            await client.table(table).put("k", b"v")
    door = CommandDoor(",".join(urls))
    for _ in range(2):
        await door.put(table, "k", b"v")
        assert (await _found(door, table, "k"))[0] == b"v"
    assert [row.row for row in await door.range(table)] == ["k"]


async def test_a_server_that_is_down_is_named(table: str) -> None:
    url = "http://127.0.0.1:1"
    command = CommandDoor(url)
    sync = SyncClient([url], passes=1)
    async with Client([url], passes=1) as client:
        with sync:
            for door in (command, ClientDoor(client), SyncDoor(sync)):
                for call in (
                    door.get(table, "k"),
                    door.put(table, "k", b"v"),
                    door.delete(table, "k"),
                    door.range(table),
                    door.tables(),
                    door.describe(table),
                    door.configure(table, w=1),
                    door.drop(table),
                    door.cluster(),
                    door.forget("m1"),
                    door.receipt("usr.0123456789abcdef.1"),
                ):
                    with pytest.raises(RefusedCallError, match=r"http://127\.0\.0\.1:1: cannot be reached") as refused:
                        await call
                    assert isinstance(refused.value.error, UnavailableError)
                    assert not refused.value.error.may_stand


async def test_a_process_of_its_own_says_and_ends_as_a_command_in_this_one(members: House, table: str) -> None:
    async def ended(*words: str, given: bytes = b"") -> tuple[int | None, bytes, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gossipkv", *words, "-s", members.url),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, err = await process.communicate(given)
        return process.returncode, out, err.decode()

    await members.doors["node"].put(table, "k", b"\xff\0")
    put, got, absent, wrong, unknown = await asyncio.gather(
        ended("put", table, "put", "-", given=b"\xff\0"),
        ended("get", table, "k"),
        ended("get", table, "absent"),
        ended("put", table, "wrong", "v", "-w", "two"),
        ended("delete", table, "k", "--tll=5s"),
    )
    row = members.nodes[0].table(table).get("put")
    assert row is not None
    assert (put[0], put[1], put[2].splitlines()[1], row.value) == (0, b"", f"etag {row.etag}", b"\xff\0")
    assert got == (0, b"\xff\0", "")
    assert absent == (3, b"", f"Error: there is no row 'absent' in the table '{table}'\n")
    assert wrong == (2, b"", "Error: `w` is a number of members from 1 to 1000, not 'two'\n")
    assert (unknown[0], "No such option '--tll'" in unknown[2].splitlines()[-1]) == (2, True)
    assert [row.row async for row in members.nodes[0].table(table).range()] == ["k", "put"]


async def _refused(
    problem: str, call: Awaitable[Any], *, of: type[Exception] | None = None, **facts: Any
) -> RefusedCallError:
    """Expect a call to be refused, at the doors of programs by an error of a class."""
    with pytest.raises(RefusedCallError) as raised:
        await call
    refused = raised.value
    assert refused.problem == problem
    assert str(refused)
    assert refused.facts.get("title") or problem == UNKNOWN_OPTION
    if refused.error is not None:
        expected = of or (ConditionFailedError if problem == "precondition-failed" else ClientError)
        assert isinstance(refused.error, expected)
    for name, fact in facts.items():
        assert refused.facts[name] == fact
    return refused


async def _found(door: Door, table: str, key: str, **options: Any) -> tuple[bytes | None, Any, Any, Any]:
    found = await door.get(table, key, **options)
    assert found is not None
    return found


async def _watched(watching: Awaitable[tuple[list[Seen], str]]) -> tuple[list[Seen], str]:
    async with asyncio.timeout(DEADLINE_SECONDS):
        return await watching


async def _until_gone(door: Door, table: str, key: str) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while await door.get(table, key) is not None:
            await asyncio.sleep(0.01)
