"""One rule, every door: the same calls have the same results and the same errors, whichever door they come in by."""

from __future__ import annotations

import asyncio
import itertools
import math
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
    NotFoundError,
    Put,
    RefusedError,
    UnavailableError,
)
from gossipkv import TooFewCopiesError as CopiesError
from gossipkv.core.model.member import ALIVE
from gossipkv.core.model.write import Operation, Result
from gossipkv.core.model.write import StoredWrite as Stored
from gossipkv.core.waits.answers import Coverage, Holder, Receipt
from gossipkv.member.node import MemberNode as Driver
from gossipkv.member.waits import CopiesMissingError
from tests.contracts.doors import (
    DEADLINE_SECONDS,
    UNKNOWN_OPTION,
    VALUE_BYTES_MAX,
    Door,
    House,
    Line,
    RefusedCallError,
    Seen,
    house,
)

DOORS = ("http", "client", "sync", "node")
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
    assert found == (b"\xff\0 bytes", (), written.etag, written.context)
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
    content = bytes(value) if door.name == "http" else value
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
        door.batch("members", [Delete("m0")], namespace="sys"),
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
    paged = await door.range(listed, page_rows=1, keys_only=True, **bounds)
    assert [(row.row, row.value, row.etag) for row in paged] == [(row.row, None, row.etag) for row in rows]


async def test_keys_alone_are_listed_of_rows_with_siblings(door: Door, table: str) -> None:
    await door.configure(table, conflicts="siblings")
    for value in (b"a", b"b"):
        await door.put(table, "k", value)
    [key] = await door.range(table, keys_only=True)
    assert (key.row, key.value, key.context, key.siblings) == ("k", None, None, ())


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


async def test_a_batch_waits_for_copies_and_asks_for_no_more_than_there_are(door: Door, table: str) -> None:
    assert [line.problem for line in await door.batch(table, [Put("a", b"1")], w=2, write_wait="1m")] == [""]
    lines = await door.batch(table, [Put("b", b"1"), Delete("a")], w=3)
    assert [line.problem for line in lines] == ["too-many-asked", "too-many-asked"]
    assert [row.row for row in await door.range(table)] == ["a"]
    assert await door.batch(table, []) == []


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


async def test_an_update_deletes_a_row_for_which_there_is_no_value(door: Door, table: str) -> None:
    assert await door.update(table, "k", lambda _: None) is None
    await door.put(table, "k", b"v")
    assert await door.update(table, "k", lambda _: None) is not None
    assert await door.get(table, "k") is None
    written = await door.update(table, "k", lambda value: b"again" if value is None else b"wrong")
    assert written is not None
    assert (await _found(door, table, "k"))[0] == b"again"


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
    is_text: bool = True
    """Whether a request over HTTP can say it."""


def _put(problem: str, *, is_text: bool = True, key: Any = "k", value: Any = b"v", **options: Any) -> Wrong:
    return Wrong(problem, lambda door, table: door.put(table, key, value, **options), is_text)


def _get(r: Any, *, is_text: bool = True) -> Wrong:
    return Wrong("invalid-parameter", lambda door, table: door.get(table, "k", r=r), is_text)


def _range(problem: str, *, is_text: bool = True, **bounds: Any) -> Wrong:
    return Wrong(problem, lambda door, table: door.range(table, **bounds), is_text)


def _named(name: Any, *, is_text: bool = True) -> Wrong:
    return Wrong("invalid-table-name", lambda door, _: door.put(name, "k", b"v"), is_text)


PARAMETER, CONDITION, CONTEXT = "invalid-parameter", "invalid-condition", "invalid-context"
ROW, TABLE = "invalid-row-key", "invalid-table-name"
LONG = "k" * 401

WRONG = {
    "an empty key": _put(ROW, key=""),
    "a key of 401 bytes": _put(ROW, key=LONG),
    "a key of 401 bytes in fewer characters": _put(ROW, key="é" * 200 + "x"),
    "a key of bytes": _put(ROW, key=b"k", is_text=False),
    "a key that is a number": _put(ROW, key=7, is_text=False),
    "no key": _put(ROW, key=None, is_text=False),
    "a key with half of a surrogate pair": _put(ROW, key="\ud800", is_text=False),
    "an empty table": _named(""),
    "a table of 65 letters": _named("t" * 65),
    "a table with a space": _named("no name"),
    "a table outside ASCII": _named("tä"),
    "a table with half of a surrogate pair": _named("\ud800", is_text=False),
    "no table": _named(None, is_text=False),
    "a table that is a flag": _named(True, is_text=False),
    "a value that is too large": _put("value-too-large", value=bytes(VALUE_BYTES_MAX + 1)),
    "a value of text": _put(PARAMETER, value="text", is_text=False),
    "a value that is a number": _put(PARAMETER, value=7, is_text=False),
    "a value that is a list": _put(PARAMETER, value=[b"v"], is_text=False),
    **{f"a life of {ttl!r}": _put(PARAMETER, ttl=ttl) for ttl in ("", "0s", "0ms", "-1s", "30", "1w", "1.5s", "1 s")},
    **{f"a life of {ttl!r}": _put(PARAMETER, ttl=ttl) for ttl in ("nan", "inf", "36601d", "1H", "٣s", "9" * 400 + "s")},
    **{
        f"a life of {ttl!r}": _put(PARAMETER, ttl=ttl, is_text=False)
        for ttl in (0, -1, True, math.nan, math.inf, 10**400, 0.0001, timedelta(0), timedelta.max, b"1s", [1], "\ud800")
    },
    **{f"copies of {w!r}": _put(PARAMETER, w=w) for w in (0, -1, 1_001, 10**30)},
    **{f"copies of {w!r}": _put(PARAMETER, w=w, is_text=False) for w in (True, 1.0, "2", math.nan, [2], b"2")},
    **{f"a wait of {wait!r}": _put(PARAMETER, w=1, write_wait=wait) for wait in ("61m", "-1s", "soon", "", "1")},
    **{
        f"a wait of {wait!r}": _put(PARAMETER, w=1, write_wait=wait, is_text=False)
        for wait in (-1.0, 3_601, math.nan, True, timedelta(hours=2))
    },
    "a condition with a quote within": _put(CONDITION, if_match='a"b'),
    "a condition of no tag": _put(CONDITION, if_match='"a" "b"'),
    "a condition of nothing between commas": _put(CONDITION, if_match='"a",,"b"'),
    "a condition that is a number": _put(CONDITION, if_match=7, is_text=False),
    "a condition of bytes": _put(CONDITION, if_match=b"a", is_text=False),
    "a condition of a list": _put(CONDITION, if_match=["a"], is_text=False),
    "a condition that ends a header": _put(CONDITION, if_match='a\r\nX: "b"', is_text=False),
    "an absence that is text": _put(CONDITION, if_absent="no", is_text=False),
    "an absence that is a number": _put(CONDITION, if_absent=1, is_text=False),
    "a context that is no base64": _put(CONTEXT, context="!" * 32),
    "a context of nothing": _put(CONTEXT, context=""),
    "a context of another row": _put(CONTEXT, context="A" * 54),
    "a context of bytes": _put(CONTEXT, context=b"AAAA", is_text=False),
    "a context that ends a header": _put(CONTEXT, context="AAAA\r\nX: y", is_text=False),
    "a flag that is a number": _put(PARAMETER, idempotent=1, is_text=False),
    "an unknown option of a put": _put(UNKNOWN_OPTION, tll="5s"),
    "an absence in a delete": Wrong(
        UNKNOWN_OPTION, lambda door, table: door.delete(table, "k", if_absent=True), is_text=False
    ),
    "a life of a delete": Wrong(UNKNOWN_OPTION, lambda door, table: door.delete(table, "k", ttl="5s")),
    **{f"answers of {r!r}": _get(r) for r in (0, -1, 1_001)},
    **{f"answers of {r!r}": _get(r, is_text=False) for r in (True, 1.0, "2", math.nan)},
    "a prefix of 401 bytes": _range(PARAMETER, prefix=LONG),
    "a start of 401 bytes": _range(PARAMETER, start=LONG),
    "an end of 401 bytes": _range(PARAMETER, end=LONG),
    "a prefix of bytes": _range(PARAMETER, prefix=b"a", is_text=False),
    "an end that is a number": _range(PARAMETER, end=7, is_text=False),
    "a start with half of a surrogate pair": _range(PARAMETER, start="\ud800", is_text=False),
    "pages of no rows": _range(PARAMETER, page_rows=0),
    "pages of a flag": _range(PARAMETER, page_rows=True, is_text=False),
    "pages of text": _range(PARAMETER, page_rows="10", is_text=False),
    "keys only, as text": _range(PARAMETER, keys_only="yes"),
    "keys only, as a number": _range(PARAMETER, keys_only=1),
    "an unknown bound": _range(UNKNOWN_OPTION, perfix="a"),
    "a batch with no copies": Wrong(PARAMETER, lambda door, table: door.batch(table, [Put("k", b"v")], w=0)),
    "a batch that waits for two hours": Wrong(
        PARAMETER, lambda door, table: door.batch(table, [Put("k", b"v")], write_wait="2h")
    ),
    "a batch with a flag of text": Wrong(
        PARAMETER, lambda door, table: door.batch(table, [Put("k", b"v")], idempotent="yes"), is_text=False
    ),
    "a batch of nothing that can be iterated": Wrong(
        PARAMETER, lambda door, table: door.batch(table, None), is_text=False
    ),
    "an unknown option of a batch": Wrong(
        UNKNOWN_OPTION, lambda door, table: door.batch(table, [Put("k", b"v")], ttl="1s")
    ),
    "an update without a function": Wrong(PARAMETER, lambda d, t: d.update(t, "k", None), is_text=False),
    "an update to text": Wrong(PARAMETER, lambda d, t: d.update(t, "k", lambda _: "text"), is_text=False),
    "an update of no attempts": Wrong(
        PARAMETER, lambda d, t: d.update(t, "k", lambda _: b"v", attempts_max=0), is_text=False
    ),
    "an update with a life of nothing": Wrong(PARAMETER, lambda d, t: d.update(t, "k", lambda _: b"v", ttl="0s")),
    "an update with no copies": Wrong(PARAMETER, lambda d, t: d.update(t, "k", lambda _: b"v", w=0)),
    "an update of an empty key": Wrong(ROW, lambda d, t: d.update(t, "", lambda _: b"v")),
    "a watch of a long prefix": Wrong(PARAMETER, lambda door, table: door.watch(table, 1, prefix=LONG)),
    "a watch since no event": Wrong(PARAMETER, lambda door, table: door.watch(table, 1, since="not an id")),
    "a watch since a number": Wrong(PARAMETER, lambda door, table: door.watch(table, 1, since=7), is_text=False),
    "a watch with a snapshot of text": Wrong(PARAMETER, lambda door, table: door.watch(table, 1, snapshot="maybe")),
    "an unknown option of a watch": Wrong(UNKNOWN_OPTION, lambda door, table: door.watch(table, 1, start="a")),
    "settings of no copies": Wrong("unsupported-setting", lambda d, t: d.configure(t, w=0)),
    "settings of a flag": Wrong("unsupported-setting", lambda d, t: d.configure(t, r=True)),
    "settings of a number as text": Wrong("unsupported-setting", lambda d, t: d.configure(t, w="2")),
    "settings of a kind that is a number": Wrong("unsupported-setting", lambda d, t: d.configure(t, conflicts=7)),
    "a receipt of nothing known": Wrong("invalid-receipt", lambda door, _: door.receipt("usr.1.1")),
    "a receipt that is a number": Wrong("invalid-receipt", lambda door, _: door.receipt(7), is_text=False),
    "a receipt for no members": Wrong(PARAMETER, lambda door, _: door.receipt("usr.0123456789abcdef.1", wait=0)),
    "a receipt for some members": Wrong(PARAMETER, lambda door, _: door.receipt("usr.0123456789abcdef.1", wait="some")),
    "a receipt within a day": Wrong(
        PARAMETER, lambda door, _: door.receipt("usr.0123456789abcdef.1", wait=1, within="1d")
    ),
}


@pytest.mark.parametrize(
    ("name", "case"),
    [(name, case) for case in WRONG for name in DOORS if WRONG[case].is_text or name != "http"],
)
async def test_what_is_wrong_is_refused_in_the_same_words(members: House, table: str, name: str, case: str) -> None:
    wrong = WRONG[case]
    of = TypeError if wrong.problem == UNKNOWN_OPTION else InvalidArgumentError
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
