"""Members inside this process, on real ports and directories."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from gossipkv import (
    Client,
    ConditionFailedError,
    ContextRequiredError,
    Node,
    Put,
    RefusedError,
    ServerFailedError,
    UnavailableError,
    UnresolvedSiblingsError,
)
from gossipkv.config.settings import SettingsError
from gossipkv.core.store.storage import View
from gossipkv.member.feed import Watcher
from gossipkv.member.group_commit import StepFailedError
from gossipkv.member.node import MemberNode as Driver
from gossipkv.member.watches import ControlEvent, Signal
from tests.node.member_settings import MemberSettings
from tests.processes.members import eventually, free_port


@pytest.fixture(autouse=True)
def unconfigured_logs() -> Iterator[None]:
    """As in a program that knows nothing of structlog."""
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


def settings(bootstrap_timeout_ms: int = 50) -> MemberSettings:
    return {"gossip_interval_ms": 50, "bootstrap_timeout_ms": bootstrap_timeout_ms}


async def test_an_embedded_member_reads_and_writes_in_its_own_process(tmp_path: Path) -> None:
    async with Node(data_dir=tmp_path, member="m0", gossip_port=free_port(), **settings()) as member:
        table = member.table("t")
        assert table.get("a") is None
        written = await table.put("a", b"1", if_absent=True)
        row = table.get("a")
        assert row is not None
        assert (row.value, row.etag) == (b"1", written.etag)
        with pytest.raises(ConditionFailedError) as failure:
            await table.put("a", b"2", if_absent=True)
        assert failure.value.problem["etag"] == written.etag
        await table.put("a", b"2", if_match=written.etag)
        await table.delete("a")
        assert table.get("a") is None


async def test_of_large_rows_few_are_read_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gossipkv.rows.view.local_rows.PAGE_BYTES_MAX", 2_500)
    views = 0

    def counted(node: Driver) -> View:
        nonlocal views
        views += 1
        return view(node)

    view = Driver.view
    async with Node(data_dir=tmp_path, member="m0", gossip_port=free_port(), **settings()) as member:
        table = member.table("t")
        for number in range(8):
            await table.put(f"{number}", b"v" * 1_000)
        monkeypatch.setattr(Driver, "view", counted)
        rows = [row.row async for row in table.range()]
    assert rows == [f"{number}" for number in range(8)]
    assert views == 3


async def test_siblings_contexts_lives_and_copies_are_as_with_a_client(tmp_path: Path) -> None:
    port = free_port()
    async with Node(data_dir=tmp_path, member="m0", gossip_port=free_port(), http_port=port, **settings()) as member:
        async with Client([f"http://127.0.0.1:{port}"]) as client:
            await client.table("carts").configure(conflicts="siblings")
        carts = member.table("carts", resolve=b"+".join)
        await carts.put("c", b"a")
        await carts.put("c", b"b")
        row = carts.get("c")
        assert row is not None
        assert (row.value, row.siblings) == (b"b+a", (b"b", b"a"))
        with pytest.raises(UnresolvedSiblingsError):
            member.table("carts").get("c")
        with pytest.raises(ContextRequiredError):
            await carts.delete("c")
        with pytest.raises(RefusedError, match="another row"):
            await carts.put("d", b"x", context=row.context)
        await carts.put("c", b"ab", context=row.context, ttl="1h")
        assert [(each.value, each.siblings) async for each in carts.range()] == [(b"ab", ())]
        with pytest.raises(RefusedError):
            await carts.put("c", b"x", w=2)


async def test_rows_are_ranged_over_in_order_and_within_bounds(tmp_path: Path) -> None:
    async with Node(data_dir=tmp_path, member="m0", gossip_port=free_port(), **settings()) as member:
        table = member.table("t")
        await asyncio.gather(*(table.put(f"{letter}{number:03}", b"v") for letter in "abc" for number in range(250)))
        await member.table("u").put("b", b"of another table")
        assert [row.row async for row in table.range()] == [f"{x}{n:03}" for x in "abc" for n in range(250)]
        assert len([row async for row in table.range(prefix="b")]) == 250
        assert [row.row async for row in table.range(start="a248", end="b001")] == ["a248", "a249", "b000"]
        assert [row async for row in table.range(prefix="b", start="c")] == []


async def test_what_cannot_be_stored_is_refused_before_it_is_written(tmp_path: Path) -> None:
    async with Node(
        data_dir=tmp_path, member="m0", gossip_port=free_port(), value_bytes_max=10, **settings()
    ) as member:
        for key, value in (("", b""), ("k" * 401, b""), ("k", b"v" * 11)):
            with pytest.raises(ValueError, match=r"is 1 to|at most"):
                await member.table("t").put(key, value)
        with pytest.raises(ValueError, match="table name"):
            member.table("no name")


async def test_members_replicate_and_keep_their_rows_over_a_restart(tmp_path: Path) -> None:
    ports = [free_port(), free_port()]
    peers = [f"http://127.0.0.1:{port}" for port in ports]

    def member(number: int, http_port: int | None = None) -> Node:
        directory = tmp_path / str(number)
        return Node(
            data_dir=directory,
            member=f"m{number}",
            peers=peers,
            gossip_port=ports[number],
            http_port=http_port,
            **settings(),
        )

    port = free_port()
    async with member(0) as first, member(1, port) as second:
        await first.wait_ready()
        await second.wait_ready()
        await first.table("t").put("a", b"1")

        async def has_arrived() -> bool:
            return second.table("t").get("a") is not None

        await eventually(has_arrived, "the row at the second member")
        async with Client([f"http://127.0.0.1:{port}"]) as client:
            row = await client.table("t").get("a")
            assert row is not None
            assert row.value == b"1"
    async with member(1) as second:
        row = second.table("t").get("a")
        assert row is not None
        assert row.value == b"1"


async def test_a_member_that_was_forgotten_begins_without_data_at_its_next_start(tmp_path: Path) -> None:
    ports = [free_port(), free_port()]
    peers = [f"http://127.0.0.1:{port}" for port in ports]
    http_port = free_port()

    def member(number: int) -> Node:
        return Node(
            data_dir=tmp_path / str(number),
            member=f"m{number}",
            peers=peers,
            gossip_port=ports[number],
            http_port=None if number else http_port,
            **settings(bootstrap_timeout_ms=10_000),
        )

    async with member(0) as first, Client([f"http://127.0.0.1:{http_port}"]) as client:
        async with member(1) as second:
            await second.wait_ready()
            await second.table("t").put("a", b"1", w=2)
        await client.forget("m1", force=True)
        await first.table("t").delete("a")
        async with member(1) as second:
            await asyncio.wait_for(second.wait_fenced(), 20)
            with pytest.raises(UnavailableError, match="told to forget"):
                await second.table("t").put("b", b"2")
            row = second.table("t").get("a")
            assert row is not None, "its reader may still look at what it has"
        async with member(1) as second:
            await second.wait_ready()
            assert second.table("t").get("a") is None
            await second.table("t").put("c", b"3", w=2)
            (kept,) = (tmp_path / "1" / "set-aside").iterdir()
            assert (kept / "data.mdb").is_file()
        assert first.table("t").get("c") is not None


def test_settings_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="tombstone_age_ms_min"):
        Node(data_dir=tmp_path, member="m0", tombstone_age_ms_min=1_000)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"data_dir": 7}, "data_dir is 7, but must be the path"),
        ({"data_dir": ""}, "data_dir is '', but must be the path"),
        ({"member": ""}, "member is empty"),
        ({"peers": "http://127.0.0.1:1"}, r"give \[url\]"),
        ({"peers": None}, "peers is None"),
        ({"peers": [7]}, "peers hold 7"),
        ({"peers": ["nonsense"]}, "peers hold 'nonsense', but must be gossip URLs"),
        ({"advertise_host": 7}, "advertise_host, by default gossip_host, is 7"),
        ({"advertise_host": "a b"}, "is 'a b', but must be a name or an address"),
        ({"gossip_host": ""}, "gossip_host, is ''"),
        ({"gossip_port": True}, "gossip_port is True"),
    ],
)
def test_what_a_member_cannot_be_started_with_is_refused(tmp_path: Path, given: dict[str, Any], problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        Node(**{"data_dir": tmp_path, "member": "m0", **given})


def test_a_setting_that_there_is_not_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"Node.* unexpected keyword argument 'gosip_interval_ms'"):
        Node(data_dir=tmp_path, member="m0", gosip_interval_ms=50)


async def test_tasks_that_wait_at_a_member_are_told_when_it_stops(tmp_path: Path) -> None:
    options = settings(bootstrap_timeout_ms=3_600_000)
    nobody = [f"http://127.0.0.1:{free_port()}"]
    async with Node(data_dir=tmp_path, member="m0", peers=nobody, gossip_port=free_port(), **options) as member:
        table = member.table("t")
        waiting = [asyncio.create_task(member.wait_ready()), asyncio.create_task(member.wait_fenced())]
        await table.put("a", b"1")
    for wait in waiting:
        with pytest.raises(UnavailableError, match="stopping"):
            await wait
    for copies in (1, 2):
        with pytest.raises(UnavailableError, match="stopping"):
            await table.put("b", b"2", w=copies, write_wait="1m")
    with pytest.raises(UnavailableError, match="cannot be read"):
        table.get("a")


async def test_a_watch_that_is_too_slow_goes_on_after_the_last_change_that_it_got(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overflows = 0

    def counted(watcher: Watcher, word: ControlEvent) -> None:
        nonlocal overflows
        overflows += word.signal is Signal.OVERFLOW
        end(watcher, word)

    end = Watcher.end
    monkeypatch.setattr(Watcher, "end", counted)
    async with Node(
        data_dir=tmp_path, member="m0", gossip_port=free_port(), watch_buffer_bytes_max=65_536, **settings()
    ) as member:
        table = member.table("t")
        await table.put("first", b"v")
        async with table.watch(snapshot=True) as watch:
            assert [(await anext(watch)).row for _ in range(2)] == ["first", ""]
            await table.put("second", b"v")
            assert (await anext(watch)).row == "second"
            # They do not fit into the buffer, and nobody takes them out of it.
            for number in range(20):
                await table.put(f"{number:02}", b"v" * 10_000)
            assert [(await anext(watch)).row for _ in range(20)] == [f"{number:02}" for number in range(20)]
    assert overflows >= 1


async def test_a_fault_of_the_member_is_logged_and_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object) -> None:
        raise StepFailedError("a bug")

    async with Node(data_dir=tmp_path, member="m0", gossip_port=free_port(), **settings()) as member:
        monkeypatch.setattr(Driver, "write", fail)
        with pytest.raises(ServerFailedError, match="this is a fault of the member") as failure:
            await member.table("t").put("a", b"1")
        assert failure.value.problem["type"] == "urn:gossipkv:problem:internal-error"
        [outcome] = [each async for each in member.table("t").batch([Put("a", b"1")])]
        assert isinstance(outcome.error, ServerFailedError)
    assert "request_failed" in caplog.text


PROGRAM = """
import asyncio, sys, gossipkv

async def main(directory, port):
    peers = ["http://127.0.0.1:9"]
    async with gossipkv.Node(data_dir=directory, member="a", gossip_port=int(port), peers=peers) as member:
        await asyncio.sleep(1)

asyncio.run(main(*sys.argv[1:]))
"""


def test_a_program_that_has_configured_no_logging_sees_no_log(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), str(free_port())], capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, ended.stderr) == (0, "")
