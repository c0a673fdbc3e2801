"""Rows on a real volume that cannot be read, seen through HTTP, a client and the member in this process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgpack
import pytest

from gossipkv import Client, ClientError, Node, UnavailableError
from gossipkv.cli import group
from tests.processes.members import eventually, free_port
from tests.storage.damage import UNREADABLE, overwrite

TABLE = "/v1/usr/tables/t"
KINDS = ["garbage", "a row cut short", "a value that is a list", "versions out of order", "a negative expiry"]


@asynccontextmanager
async def member(path: Path, name: str = "m0", port: int = 0, **settings: Any) -> AsyncIterator[tuple[Node, str]]:
    http_port = free_port()
    node = Node(
        data_dir=path,
        member=name,
        gossip_port=port or free_port(),
        http_port=http_port,
        gossip_interval_ms=50,
        bootstrap_timeout_ms=50,
        **settings,
    )
    async with node:
        await node.wait_ready()
        yield node, f"http://127.0.0.1:{http_port}"


async def ask(session: aiohttp.ClientSession, method: str, url: str, **arguments: Any) -> tuple[int, Any]:
    async with session.request(method, url, **arguments) as response:
        kind = response.content_type
        return response.status, await response.json() if kind.endswith("json") else await response.read()


@pytest.mark.parametrize("kind", KINDS)
async def test_one_row_that_cannot_be_read_is_one_row(tmp_path: Path, kind: str) -> None:
    async with member(tmp_path) as (node, _):
        for key in "abc":
            await node.table("t").put(key, key.encode())
    overwrite(tmp_path, "usr", b"t\0b", UNREADABLE[kind])
    async with member(tmp_path) as (node, url), aiohttp.ClientSession() as session:
        status, page = await ask(session, "GET", f"{url}{TABLE}/rows")
        assert (status, [item["row"] for item in page["items"]]) == (200, ["a", "c"])
        assert [row.row async for row in node.table("t").range()] == ["a", "c"]
        for _ in range(2):
            status, problem = await ask(session, "GET", f"{url}{TABLE}/rows/b")
            assert (status, problem["type"]) == (503, "urn:gossipkv:problem:row-unreadable")
        with pytest.raises(UnavailableError):
            node.table("t").get("b")
        status, problem = await ask(session, "PUT", f"{url}{TABLE}/rows/b", data=b"x", headers={"If-None-Match": "*"})
        assert (status, problem["type"]) == (503, "urn:gossipkv:problem:row-unreadable")
        _, account = await ask(session, "GET", f"{url}/v1/cluster")
        assert (account["unreadable"]["rows"], account["unreadable"]["items"][0]["row"]) == (1, "b")
        _, metrics = await ask(session, "GET", f"{url}/metrics")
        assert b'gossipkv_rows_unreadable{shard="usr"} 1.0' in metrics
        _, table = await ask(session, "GET", f"{url}{TABLE}")
        assert (table["rows"], table["value_bytes"]) == (2, 4)
        status, _ = await ask(session, "PUT", f"{url}{TABLE}/rows/b", data=b"new")
        assert status == 201
        assert await ask(session, "GET", f"{url}{TABLE}/rows/b") == (200, b"new")
    async with member(tmp_path) as (node, url), aiohttp.ClientSession() as session:
        _, account = await ask(session, "GET", f"{url}/v1/cluster")
        assert account["unreadable"] == {"rows": 0, "items": []}
        assert [row.row async for row in node.table("t").range()] == ["a", "b", "c"]


async def test_rows_that_cannot_be_read_can_be_deleted_alone_and_with_their_table(tmp_path: Path) -> None:
    async with member(tmp_path) as (node, _):
        for key in "abc":
            await node.table("t").put(key, b"v")
    for address in (b"t\0a", b"t\0b"):
        overwrite(tmp_path, "usr", address, b"\xc1")
    async with member(tmp_path) as (node, url):
        await node.table("t").delete("a")
        assert node.table("t").get("a") is None
        assert [row.row async for row in node.table("t").range()] == ["c"]
        with pytest.raises(ClientError):
            node.table("t").get("b")
        async with Client([url]) as client:
            await client.table("t").drop()
        assert node.table("t").get("b") is None
        assert [row.row async for row in node.table("t").range()] == []


async def test_a_client_finds_the_row_at_another_member_which_brings_it_back(tmp_path: Path) -> None:
    ports = [free_port(), free_port()]
    peers = {"peers": [f"http://127.0.0.1:{port}" for port in ports]}
    first, second = tmp_path / "0", tmp_path / "1"
    async with (
        member(first, "m0", ports[0], **peers) as (node, _),
        member(second, "m1", ports[1], **peers) as (other, _),
    ):
        await node.table("t").put("b", b"value")

        async def has_arrived() -> bool:
            return other.table("t").get("b") is not None

        await eventually(has_arrived, "the row at the second member")
    overwrite(first, "usr", b"t\0b", b"\xc1")
    async with member(first, "m0", ports[0], **peers) as (node, url):
        with pytest.raises(UnavailableError):
            node.table("t").get("b")
        async with member(second, "m1", ports[1], **peers) as (_, other_url):
            async with Client([url, other_url]) as client:
                row = await client.table("t").get("b")
                assert row is not None
                assert row.value == b"value"

            async def is_back() -> bool:
                try:
                    row = node.table("t").get("b")
                except UnavailableError:
                    return False
                return row is not None and row.value == b"value"

            await eventually(is_back, "the row brought back")


async def test_what_version_0_1_0_stored_as_text_is_its_bytes_and_replicates(tmp_path: Path) -> None:
    ports = [free_port(), free_port()]
    peers = {"peers": [f"http://127.0.0.1:{port}" for port in ports]}
    first, second = tmp_path / "0", tmp_path / "1"
    async with member(first, "m0", ports[0], **peers) as (node, _):
        await node.table("t").put("k", b"bytes")
        replica = int(str((await node.table("t").put("k", b"bytes")).receipt).split(".")[1], 16)
        sequence = int(str((await node.table("t").put("k", b"bytes")).receipt).split(".")[2])
    fields = [1, replica, sequence, sequence << 16, "a str, é", 2**64 - 1]
    overwrite(first, "usr", b"t\0k", msgpack.packb(fields))
    async with (
        member(first, "m0", ports[0], **peers) as (_, url),
        member(second, "m1", ports[1], **peers) as (other, _),
    ):
        async with Client([url]) as client:
            row = await client.table("t").get("k")
            assert row is not None
            assert row.value == "a str, é".encode()

        async def has_arrived() -> bool:
            there = other.table("t").get("k")
            return there is not None and there.value == "a str, é".encode()

        await eventually(has_arrived, "the row at the second member")


async def test_a_watch_with_a_snapshot_passes_over_it(tmp_path: Path) -> None:
    async with member(tmp_path) as (node, _):
        for key in "abc":
            await node.table("t").put(key, b"v")
    overwrite(tmp_path, "usr", b"t\0b", b"\xc1")
    async with member(tmp_path) as (_, url), Client([url]) as client:
        told = []
        async with client.table("t").watch(snapshot=True) as watch, asyncio.timeout(20):
            async for change in watch:
                told.append(change.row)
                if not change.row:
                    break
    assert told == ["a", "c", ""]


def test_an_export_of_a_directory_leaves_it_out_and_names_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async def filled() -> None:
        async with member(tmp_path / "data") as (node, _):
            for key in "abc":
                await node.table("t").put(key, b"v")

    asyncio.run(filled())
    overwrite(tmp_path / "data", "usr", b"t\0b", b"\xc1")
    capfd.readouterr()
    group.main(["export", "t", "--data-dir", str(tmp_path / "data")], prog_name="gossipkv", standalone_mode=False)
    captured = capfd.readouterr()
    assert [json.loads(line)["row"] for line in captured.out.splitlines()] == ["a", "c"]
    assert "the row 'b' cannot be read and is left out" in captured.err
