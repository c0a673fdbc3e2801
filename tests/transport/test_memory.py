"""The network in memory: its faults are decided by the seed, and strike as they are named."""

from __future__ import annotations

import asyncio
import random

import pytest

from gossipkv.transport.base import ExchangeError, Fault
from gossipkv.transport.memory import FaultRates, MemoryNetwork, MemoryTransport, NetworkFaults

ROUGH = FaultRates(drop=0.2, duplicate=0.2, delay=0.5, reorder=0.1, delay_ms_min=5, delay_ms_max=50)


def plans(seed: int, rates: FaultRates, count: int = 2000) -> tuple[list[list[int]], dict[str, int]]:
    faults = NetworkFaults(random.Random(seed), rates)
    return [faults.plan("a", "b") for _ in range(count)], dict(faults.fired)


def test_the_same_seed_gives_the_same_plans() -> None:
    assert plans(7, ROUGH) == plans(7, ROUGH)
    assert plans(7, ROUGH) != plans(8, ROUGH)


def test_without_faults_every_frame_arrives_once_and_at_once() -> None:
    planned, fired = plans(1, FaultRates())
    assert planned == [[0]] * 2000
    assert fired == {}


def test_each_fault_strikes_about_as_often_as_it_should_and_is_counted() -> None:
    planned, fired = plans(1, ROUGH)
    assert fired["drops"] == sum(not plan for plan in planned)
    assert fired["duplicates"] == sum(len(plan) == 2 for plan in planned)
    assert 300 < fired["drops"] < 500
    assert 230 < fired["duplicates"] < 410
    copies = sum(map(len, planned))
    assert 0.4 * copies < fired["delays"] < 0.6 * copies
    assert 0.05 * copies < fired["reorders"] < 0.15 * copies


def test_delays_stay_in_their_range_and_reordered_frames_exceed_it() -> None:
    planned, _ = plans(1, FaultRates(delay=1.0, delay_ms_min=5, delay_ms_max=50))
    assert {delay for plan in planned for delay in plan} == set(range(5, 51))
    planned, _ = plans(1, FaultRates(reorder=1.0, delay_ms_max=50))
    assert {delay for plan in planned for delay in plan} == set(range(51, 101))


def test_a_cut_is_one_way_until_healed() -> None:
    faults = NetworkFaults(random.Random(1))
    faults.cut("a", "b")
    assert faults.plan("a", "b") == []
    assert faults.plan("b", "a") == [0]
    assert faults.fired == {"cuts": 1}
    faults.heal()
    assert faults.plan("a", "b") == [0]


def test_a_partition_parts_its_sides_and_nothing_else() -> None:
    faults = NetworkFaults(random.Random(1))
    faults.partition(["a", "b"], ["c"], ["d"])
    members = "abcde"
    reached = {source + target for source in members for target in members if faults.plan(source, target)}
    assert reached == {"aa", "ab", "ba", "bb", "cc", "dd", "ee"} | {
        pair for member in "abcd" for pair in (member + "e", "e" + member)
    }
    faults.heal()
    assert faults.plan("a", "c") == [0]


async def linked(network: MemoryNetwork, served: list[bytes]) -> tuple[MemoryTransport, MemoryTransport]:
    async def serve(frame: bytes) -> bytes:
        served.append(frame)
        return b"answer %d" % len(served)

    source, target = MemoryTransport(network, "a"), MemoryTransport(network, "b")
    await source.start(serve)
    await target.start(serve)
    return source, target


@pytest.mark.parametrize(("cut", "reaches_the_peer"), [(("a", "b"), False), (("b", "a"), True)])
async def test_a_lost_request_and_a_lost_answer_are_timeouts(cut: tuple[str, str], reaches_the_peer: bool) -> None:
    network = MemoryNetwork(exchange_timeout_ms=20)
    served: list[bytes] = []
    source, target = await linked(network, served)
    network.faults.cut(*cut)
    with pytest.raises(ExchangeError) as raised:
        await source.exchange("b", b"frame")
    assert raised.value.fault is Fault.TIMEOUT
    assert (served == [b"frame"]) is reaches_the_peer
    network.faults.heal()
    assert await source.exchange("b", b"frame") == b"answer %d" % len(served)
    await source.close()
    await target.close()


async def test_a_duplicate_is_served_twice_and_the_first_answer_wins() -> None:
    network = MemoryNetwork(NetworkFaults(random.Random(1), FaultRates(duplicate=1.0)))
    served: list[bytes] = []
    source, target = await linked(network, served)
    assert await source.exchange("b", b"frame") == b"answer 1"
    async with asyncio.timeout(20):
        while len(served) < 2:
            await asyncio.sleep(0)
    assert served == [b"frame", b"frame"]
    await source.close()
    await target.close()


async def test_a_delayed_exchange_arrives_within_its_deadline() -> None:
    rates = FaultRates(delay=1.0, delay_ms_min=1, delay_ms_max=3)
    network = MemoryNetwork(NetworkFaults(random.Random(1), rates))
    source, target = await linked(network, [])
    assert await source.exchange("b", b"frame") == b"answer 1"
    assert network.faults.fired == {"delays": 2}
    await source.close()
    await target.close()


async def test_an_endpoint_belongs_to_one_transport_until_it_is_closed() -> None:
    network = MemoryNetwork()
    served: list[bytes] = []
    source, target = await linked(network, served)
    successor = MemoryTransport(network, "b")

    async def serve(frame: bytes) -> bytes:
        return b"successor"

    with pytest.raises(OSError, match="b is in use"):
        await successor.start(serve)
    await target.close()
    await successor.start(serve)
    assert await source.exchange("b", b"frame") == b"successor"
    await source.close()
    await successor.close()
