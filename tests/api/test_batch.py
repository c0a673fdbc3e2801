"""Many writes in one request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from gossipkv.core.model.address import address_of
from gossipkv.core.model.causality import Context, Dot
from gossipkv.core.model.room import Usage
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.core.model.write import Operation, Result
from gossipkv.core.store.storage import StorageFullError
from gossipkv.member.driver import InboxFullError
from gossipkv.rows.view.context_token import text_of
from gossipkv.storage.memory import MemoryStorage

from .conftest import OPTIONS, Api, running

BATCH = "/v1/usr/tables/t/rows:batch"


def kind(result: Any) -> str:
    return str(result["problem"]["type"]).removeprefix("urn:gossipkv:problem:")


async def test_every_line_has_its_result_in_order(api: Api) -> None:
    await api.put("old")
    results = await api.batch(
        [
            {"row": "new", "value": "1"},
            {"row": "old", "value": {"base64": "/w=="}},
            {"row": "gone", "value": "1"},
            {"row": "gone", "delete": True},
            {"row": "never", "delete": True},
        ]
    )
    assert [(r["row"], r["status"]) for r in results] == [
        ("new", 201),
        ("old", 204),
        ("gone", 201),
        ("gone", 204),
        ("never", 204),
    ]
    assert api.contents() == {b"t\0new": b"1", b"t\0old": b"\xff", b"t\0gone": None, b"t\0never": None}
    assert (await api.get("new")).headers["ETag"] == f'"{results[0]["etag"]}"'


async def test_order_holds_over_many_groups(api: Api) -> None:
    lines = [{"row": f"k{n % 10}", "value": str(n)} for n in range(200)]
    results = await api.batch(lines)
    assert [result["row"] for result in results] == [line["row"] for line in lines]
    assert [result["status"] for result in results] == [201] * 10 + [204] * 190
    assert api.contents() == {b"t\0k%d" % n: b"%d" % (190 + n) for n in range(10)}


async def test_a_line_can_ask_for_a_version(api: Api) -> None:
    etag = (await api.put("k", b"1")).headers["ETag"].strip('"')
    results = await api.batch(
        [
            {"row": "k", "value": "2", "etag": "0-1"},
            {"row": "k", "value": "3", "etag": etag},
            {"row": "k", "delete": True, "etag": etag},
            {"row": "absent", "value": "4", "etag": etag},
        ]
    )
    assert [result["status"] for result in results] == [412, 204, 412, 412]
    assert results[0]["problem"]["etag"] == etag
    assert results[2]["problem"]["etag"] == results[1]["etag"]
    assert api.contents() == {b"t\0k": b"3"}


@pytest.mark.parametrize(
    ("line", "status", "problem"),
    [
        (b"nonsense\n", 400, "invalid-line"),
        (b"[]\n", 400, "invalid-line"),
        (b'{"row":"k","value":"v"}{}\n', 400, "invalid-line"),
        (b'{"row":"k","value":"\xff"}\n', 400, "invalid-line"),
        (b"[" * 100_000 + b"\n", 413, "line-too-long"),
        (b"[" * 3000 + b"\n", 400, "invalid-line"),
        ({"value": "v"}, 400, "invalid-line"),
        ({"row": 1, "value": "v"}, 400, "invalid-line"),
        ({"row": "", "value": "v"}, 400, "invalid-row-key"),
        ({"row": "x" * 401, "value": "v"}, 400, "invalid-row-key"),
        ({"row": "\ud800", "value": "v"}, 400, "invalid-row-key"),
        ({"row": "k"}, 400, "invalid-line"),
        ({"row": "k", "value": None}, 400, "invalid-line"),
        ({"row": "k", "value": 1}, 400, "invalid-line"),
        ({"row": "k", "value": "\ud800"}, 400, "invalid-line"),
        ({"row": "k", "value": {"base64": "!"}}, 400, "invalid-line"),
        ({"row": "k", "value": {"base64": "é"}}, 400, "invalid-line"),
        ({"row": "k", "value": {"base64": "", "x": 1}}, 400, "invalid-line"),
        ({"row": "k", "value": "v", "delete": True}, 400, "invalid-line"),
        ({"row": "k", "delete": False}, 400, "invalid-line"),
        ({"row": "k", "delete": 1}, 400, "invalid-line"),
        ({"row": "k", "value": "v", "etag": 1}, 400, "invalid-line"),
        ({"row": "k", "value": "v", "ttl": 1}, 400, "invalid-line"),
        ({"row": "k", "value": "x" * (OPTIONS.value_bytes_max + 1)}, 413, "value-too-large"),
    ],
)
async def test_a_bad_line_is_an_error_of_its_own(api: Api, line: Any, status: int, problem: str) -> None:
    good = [{"row": f"good{n}", "value": "v"} for n in range(10)]
    results = await api.batch([*good[:5], line, *good[5:]])
    assert [result["status"] for result in results] == [201] * 5 + [status] + [201] * 5
    assert kind(results[5]) == problem
    assert sorted(api.contents()) == [b"t\0good%d" % n for n in range(10)]


async def test_a_line_holds_the_longest_that_each_of_its_fields_may_be(api: Api) -> None:
    key = b"\0" * 400
    many = StoredRow((Version(Dot(1, 1), 1, b""),), Context(dict.fromkeys(range(1, 401), 1)))
    etag = "+".join(str(Dot(2**64 - 1, 2**63 + number)) for number in range(64))
    escaped = {"row": key.decode(), "value": "\0" * OPTIONS.value_bytes_max, "etag": etag}
    line = escaped | {"context": text_of(address_of("t", key), many), "ttl": "36500d"}
    [result] = await api.batch([line])
    assert (result["row"], result["status"]) == (key.decode(), 409), "what is wrong is the context, of unknown writes"
    del line["context"]
    assert [each["status"] for each in await api.batch([line])] == [412], "what is wrong is the etag, of an absent row"
    del line["etag"]
    assert [each["status"] for each in await api.batch([line])] == [201]


async def test_blank_lines_are_no_lines(api: Api) -> None:
    results = await api.batch([b"\n", {"row": "a", "value": "v"}, b" \r\n", b'{"row":"b","value":"v"}\r\n', b"\n"])
    assert [result["row"] for result in results] == ["a", "b"]
    assert await api.batch([]) == []


async def test_the_last_line_needs_no_end_but_must_be_whole(api: Api) -> None:
    results = await api.batch([b'{"row":"a","value":"v"}\n{"row":"b","value":"v"}'])
    assert [result["status"] for result in results] == [201, 201]
    results = await api.batch([b'{"row":"c","value":"v"}\n{"row":"d","val'])
    assert [result["status"] for result in results] == [201, 400]
    assert sorted(api.contents()) == [b"t\0a", b"t\0b", b"t\0c"]


async def test_a_line_over_the_limit_is_skipped_to_its_end_without_being_held(api: Api) -> None:
    async def lines() -> AsyncIterator[bytes]:
        yield b'{"row":"a","value":"v"}\n{"row":"long","value":"'
        for _ in range(50):
            yield b"x" * 10_000
        yield b'"}\n{"row":"b","value":"v"}\n'
        for _ in range(50):
            yield b"x" * 10_000

    results = (await api.ask("POST", BATCH, data=lines())).lines
    assert [result["status"] for result in results] == [201, 413, 201, 413]
    assert sorted(api.contents()) == [b"t\0a", b"t\0b"]


async def test_lines_may_be_cut_anywhere(api: Api) -> None:
    body = b"".join(json.dumps({"row": f"é{n}", "value": "ü"}, ensure_ascii=False).encode() + b"\n" for n in range(20))

    async def bytewise() -> AsyncIterator[bytes]:
        for at in range(0, len(body), 3):
            yield body[at : at + 3]

    results = (await api.ask("POST", BATCH, data=bytewise())).lines
    assert [result["row"] for result in results] == [f"é{n}" for n in range(20)]
    assert len(api.contents()) == 20


async def test_a_result_comes_before_the_next_line_is_sent(api: Api) -> None:
    turns: asyncio.Queue[bytes] = asyncio.Queue()

    async def lines() -> AsyncIterator[bytes]:
        while line := await turns.get():
            yield line

    turns.put_nowait(b'{"row":"0","value":"v"}\n')
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"http://127.0.0.1:{api.port}{BATCH}", data=lines()) as response,
    ):
        for n in range(5):
            assert json.loads(await response.content.readline())["row"] == str(n)
            turns.put_nowait(b'{"row":"%d","value":"v"}\n' % (n + 1))
        turns.put_nowait(b"")
        assert json.loads(await response.content.readline())["row"] == "5"
        assert await response.content.read() == b""


async def test_a_client_that_goes_away_leaves_whole_lines_and_no_half_ones(api: Api) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    head = f"POST {BATCH} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n".encode()
    writer.write(head + b'{"row":"a","value":"v"}\n{"row":"b","value":"v"}')
    async with asyncio.timeout(10):
        await reader.readuntil(b'"row":"a"')
    writer.close()
    await writer.wait_closed()
    assert (await api.put("c")).status == 201
    assert sorted(api.contents()) == [b"t\0a", b"t\0c"]


@pytest.mark.parametrize(
    ("error", "status", "problem"),
    [
        (InboxFullError("too many"), 503, "overloaded"),
        (StorageFullError("no room"), 507, "storage-full"),
        (ZeroDivisionError(), 500, "internal-error"),
    ],
)
async def test_a_group_that_cannot_be_written_gives_each_line_the_error(
    api: Api, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, problem: str
) -> None:
    write = api.node.write
    calls = 0

    async def failing(shard: str, operations: Any, *wanted: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise error
        return await write(shard, operations, *wanted)

    monkeypatch.setattr(api.node, "write", failing)
    results = await api.batch({"row": f"{n:02}", "value": "v"} for n in range(20))
    assert [result["row"] for result in results] == [f"{n:02}" for n in range(20)]
    assert [result["status"] for result in results] == [201] * 7 + [status] * 7 + [201] * 6
    assert {kind(result) for result in results[7:14]} == {problem}
    assert len(api.contents()) == 13


async def test_without_room_each_put_is_refused_on_its_own_line_and_deletes_stand() -> None:
    storage = MemoryStorage()
    async with running(storage=storage) as api:
        await api.put("old")
        storage.usage = Usage(80 * 2**30, 100 * 2**30)
        lines = [{"row": "new", "value": "v"}, {"row": "old", "delete": True}, {"row": "old", "value": "v"}]
        results = await api.batch(lines)
        assert [result["status"] for result in results] == [507, 204, 507]
        assert kind(results[0]) == "storage-full"
        refused = await api.put("new")
        assert (refused.status, refused.problem) == (507, "storage-full")
        settings = await api.ask("PUT", "/v1/usr/tables/t", data=b'{"w": 1}')
        assert settings.status < 300
        account = (await api.ask("GET", "/v1/cluster")).json["storage"]
        assert (account["room"], account["short_of_room"], account["waiting"]) == ("scarce", [], [])
        metrics = (await api.ask("GET", "/metrics")).body.decode()
        assert "gossipkv_short_of_room 1.0" in metrics
        assert "gossipkv_puts_refused_total 3.0" in metrics


async def test_a_batch_that_cannot_begin_is_refused_as_a_whole(api: Api) -> None:
    body = b'{"row":"a","value":"v"}\n'
    for path, status in (
        ("/v1/sys/tables/t/rows:batch", 403),
        ("/v1/xyz/tables/t/rows:batch", 404),
        ("/v1/usr/tables/t%20/rows:batch", 400),
        (f"{BATCH}?x=2", 400),
    ):
        answer = await api.ask("POST", path, data=body)
        assert answer.status == status
        assert answer.problem
    encoded = await api.ask("POST", BATCH, data=body, headers={"Content-Encoding": "gzip"})
    assert encoded.problem == "encoded-body"
    assert api.contents() == {}


@pytest.mark.parametrize(("value_bytes", "groups"), [(1, 140), (200_000, 12)], ids=["rows", "bytes"])
async def test_a_batch_has_two_full_groups_under_way_at_most(
    monkeypatch: pytest.MonkeyPatch, value_bytes: int, groups: int
) -> None:
    """Counterexample without the bound: eight reads of tiny rows exceed inbox_operations_max, and are refused."""
    options = replace(OPTIONS, value_bytes_max=200_000)
    full = 1 if value_bytes > 1 else options.batch_group_rows_max
    under_way, counts = 0, []
    async with running(options) as api:
        write = api.node.write

        async def slow(
            shard: str, operations: list[Operation], copies: int, wait_seconds: float | None
        ) -> list[Result]:
            nonlocal under_way
            under_way += len(operations)
            counts.append(under_way)
            await asyncio.sleep(0.01)
            results = await write(shard, operations, copies, wait_seconds)
            under_way -= len(operations)
            return results

        async def body() -> AsyncIterator[bytes]:
            for n in range(groups):
                yield json.dumps({"row": f"k{n}", "value": "v" * value_bytes}).encode() + b"\n"

        monkeypatch.setattr(api.node, "write", slow)
        answer = await api.ask("POST", BATCH, data=body())
    assert [result["status"] for result in answer.lines] == [201] * groups
    assert full < max(counts) <= 2 * full
