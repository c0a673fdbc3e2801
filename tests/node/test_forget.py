"""Members that are gone are forgotten, and find out when they return."""

from __future__ import annotations

import asyncio

import pytest

from gossipkv.core.model.address import MEMBERS_TABLE, SYSTEM, USER, address_of
from gossipkv.core.model.member import MemberRecord
from gossipkv.core.store.forgotten import Forgotten
from gossipkv.member.batches import StoppedError
from gossipkv.member.node import MemberNode
from gossipkv.member.watches import ControlEvent, Signal
from gossipkv.storage.memory import MemoryStorage
from tests.node.conftest import LocalCluster, eventually, get, put


async def listed(node: MemberNode) -> list[str]:
    return [member.member for member in (await node.status()).members]


def says_that_it_left(member: str, storage: MemoryStorage) -> bool:
    with storage.view() as view:
        row = view.row(SYSTEM, address_of(MEMBERS_TABLE, member.encode()))
    assert row is not None
    value = row.winner.value
    # That its record was deleted may be the last that it has heard.
    return value is not None and MemberRecord.from_json(value).has_left


async def test_only_another_member_that_does_not_answer_is_forgotten(cluster: LocalCluster) -> None:
    a = await cluster.start("a")
    b = await cluster.start("b", ("a",))
    await asyncio.gather(a.wait_ready(), b.wait_ready())
    assert await a.forget("a") is Forgotten.ITSELF
    assert await a.forget("b", is_forced=True) is Forgotten.ANSWERS
    assert await a.forget("c") is Forgotten.UNKNOWN
    await b.stop()
    assert await a.forget("b", is_forced=True) is Forgotten.DONE
    assert await listed(a) == ["a"]
    assert await a.forget("b", is_forced=True) is Forgotten.UNKNOWN


async def test_a_member_that_was_forgotten_takes_no_writes_and_tells_no_one_anything(cluster: LocalCluster) -> None:
    a = await cluster.start("a")
    b = await cluster.start("b", ("a",))
    await asyncio.gather(a.wait_ready(), b.wait_ready())
    await b.stop()
    await a.forget("b", is_forced=True)

    b = await cluster.start("b", ("a",))
    await asyncio.wait_for(b.fenced.wait(), 20)
    assert not b.is_ready
    assert b.is_live
    with pytest.raises(StoppedError, match="told to forget"):
        await put(b, "late", b"x")
    with pytest.raises(StoppedError, match="told to forget"):
        await b.forget("a")
    await b.stop()
    assert not says_that_it_left("b", cluster.storages["b"])
    assert await listed(a) == ["a"]

    # It has not been set aside, as if it had been killed: it obeys as soon as a member answers that is not forgotten.
    again = await cluster.start("b", ("a",))
    await asyncio.wait_for(again.fenced.wait(), 20)
    await again.stop()
    assert await listed(a) == ["a"]


async def test_a_write_that_is_on_its_way_when_the_data_become_outdated_is_not_acknowledged(
    cluster: LocalCluster,
) -> None:
    a = await cluster.start("a")
    writing = asyncio.create_task(put(a, "row", b"value"))
    await asyncio.sleep(0)
    a._driver.is_fenced = True
    with pytest.raises(StoppedError, match="told to forget"):
        await writing


async def test_watchers_of_a_member_whose_data_are_outdated_are_sent_to_others(cluster: LocalCluster) -> None:
    a = await cluster.start("a")
    b = await cluster.start("b", ("a",))
    await asyncio.gather(a.wait_ready(), b.wait_ready())
    await b.stop()
    await a.forget("b", is_forced=True)
    b = await cluster.start("b", ("a",))
    async with asyncio.timeout(20), b.watched(USER, address_of("t", b""), None, snapshot=False) as watcher:
        words = [
            item.signal
            for page in [page async for page in watcher.items()]
            for item in page
            if isinstance(item, ControlEvent)
        ]
    assert words[-1] is Signal.END
    assert b.fenced.is_set()


async def test_a_new_start_without_data_is_a_new_member(cluster: LocalCluster) -> None:
    a = await cluster.start("a")
    b = await cluster.start("b", ("a",))
    await asyncio.gather(a.wait_ready(), b.wait_ready())
    await put(a, "row", b"value")
    old = b.identity.replica
    await b.stop()
    await a.forget("b", is_forced=True)
    del cluster.storages["b"]
    b = await cluster.start("b", ("a",))

    async def is_back() -> bool:
        return get(b, "row") == b"value" and await listed(a) == await listed(b) == ["a", "b"]

    await eventually(is_back)
    assert b.identity.replica != old
    assert not b.fenced.is_set()
    assert await a.forget("b", is_forced=True) is Forgotten.ANSWERS
