"""What every transport holds: one suite, run over all of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from gossipkv.transport.base import ExchangeError, ExchangeRefusedError, Fault, Transport
from gossipkv.transport.http import HttpTransport
from gossipkv.transport.memory import MemoryNetwork, MemoryTransport

FRAME_BYTES_MAX = 256 * 1024

Make = Callable[..., Transport]
"""A transport that is not started yet; `timeout_s` is its deadline for an exchange."""


@pytest.fixture(params=["memory", "http"])
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Make]:
    made: list[Transport] = []
    network = MemoryNetwork(frame_bytes_max=FRAME_BYTES_MAX)

    def make_memory(timeout_s: float = 30.0) -> Transport:
        network.exchange_timeout_ms = int(timeout_s * 1000)
        made.append(MemoryTransport(network, f"memory://{len(made)}"))
        return made[-1]

    def make_http(timeout_s: float = 30.0) -> Transport:
        made.append(HttpTransport("127.0.0.1", 0, frame_bytes_max=FRAME_BYTES_MAX, exchange_timeout_s=timeout_s))
        return made[-1]

    yield make_memory if request.param == "memory" else make_http
    for transport in made:
        await transport.close()


async def echo(frame: bytes) -> bytes:
    return b"answer to " + frame


async def never(frame: bytes) -> bytes:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


async def fault_of(exchange: Awaitable[bytes]) -> ExchangeError:
    with pytest.raises(ExchangeError) as raised:
        await asyncio.wait_for(exchange, 20)
    return raised.value


async def test_an_exchange_returns_the_peers_answer(make: Make) -> None:
    source, target = make(), make()
    await source.start(echo)
    await target.start(echo)
    assert await source.exchange(target.endpoint, b"\x00\xffframe") == b"answer to \x00\xffframe"
    assert await target.exchange(source.endpoint, b"") == b"answer to "


async def test_a_transport_reaches_itself(make: Make) -> None:
    transport = make()
    await transport.start(echo)
    assert await transport.exchange(transport.endpoint, b"me") == b"answer to me"


async def test_concurrent_exchanges_each_get_their_own_answer(make: Make) -> None:
    source, target = make(), make()
    await source.start(echo)
    await target.start(echo)
    frames = [b"%d" % number for number in range(50)]
    answers = await asyncio.gather(*(source.exchange(target.endpoint, frame) for frame in frames))
    assert answers == [b"answer to " + frame for frame in frames]


async def test_exchanges_with_one_peer_do_not_wait_for_another(make: Make) -> None:
    source, stuck, target = make(), make(), make()
    await source.start(echo)
    await stuck.start(never)
    await target.start(echo)
    waiting = asyncio.create_task(source.exchange(stuck.endpoint, b"first"))
    assert await source.exchange(target.endpoint, b"second") == b"answer to second"
    assert not waiting.done()
    await source.close()
    await fault_of(waiting)


async def test_a_refusal_tells_the_sender_why(make: Make) -> None:
    async def refuse(frame: bytes) -> bytes:
        raise ExchangeRefusedError("this is cluster 'blue', the sender is of 'green'")

    source, target = make(), make()
    await source.start(echo)
    await target.start(refuse)
    error = await fault_of(source.exchange(target.endpoint, b"frame"))
    assert error.fault is Fault.REFUSED
    assert error.detail == "this is cluster 'blue', the sender is of 'green'"


async def test_a_peer_that_is_gone_is_unreachable(make: Make) -> None:
    source, target = make(), make()
    await source.start(echo)
    await target.start(echo)
    await source.exchange(target.endpoint, b"frame")
    await target.close()
    assert (await fault_of(source.exchange(target.endpoint, b"frame"))).fault is Fault.UNREACHABLE


async def test_an_endpoint_that_no_one_could_have_is_unreachable(make: Make) -> None:
    source = make()
    await source.start(echo)
    for endpoint in ("", "nonsense", "http://", "http://[", "ftp://127.0.0.1:1", "http://127.0.0.1:99999"):
        assert (await fault_of(source.exchange(endpoint, b"frame"))).fault is Fault.UNREACHABLE, endpoint


async def test_a_peer_that_never_answers_is_a_timeout(make: Make) -> None:
    source, target = make(timeout_s=0.05), make(timeout_s=0.05)
    await source.start(echo)
    await target.start(never)
    assert (await fault_of(source.exchange(target.endpoint, b"frame"))).fault is Fault.TIMEOUT


async def test_frames_and_answers_of_the_largest_size_arrive_whole(make: Make) -> None:
    async def same(frame: bytes) -> bytes:
        return frame

    source, target = make(), make()
    await source.start(same)
    await target.start(same)
    frame = bytes(range(256)) * (FRAME_BYTES_MAX // 256)
    assert await source.exchange(target.endpoint, frame) == frame


async def test_a_frame_that_is_too_large_is_refused_and_not_served(make: Make) -> None:
    served: list[int] = []

    async def record(frame: bytes) -> bytes:
        served.append(len(frame))
        return b"answer"

    source, target = make(), make()
    await source.start(echo)
    await target.start(record)
    error = await fault_of(source.exchange(target.endpoint, bytes(FRAME_BYTES_MAX + 1)))
    assert error.fault is Fault.REFUSED
    assert await source.exchange(target.endpoint, b"small") == b"answer"
    assert served == [5]


async def test_an_answer_that_is_too_large_is_malformed(make: Make) -> None:
    async def flood(frame: bytes) -> bytes:
        return bytes(FRAME_BYTES_MAX + 1)

    source, target = make(), make()
    await source.start(echo)
    await target.start(flood)
    assert (await fault_of(source.exchange(target.endpoint, b"frame"))).fault is Fault.MALFORMED


async def test_a_server_that_fails_on_one_frame_answers_the_next(make: Make) -> None:
    async def fail_on_bad(frame: bytes) -> bytes:
        if frame == b"bad":
            raise ZeroDivisionError
        return b"good"

    source, target = make(), make()
    await source.start(echo)
    await target.start(fail_on_bad)
    assert (await fault_of(source.exchange(target.endpoint, b"bad"))).fault is Fault.REFUSED
    assert await source.exchange(target.endpoint, b"fine") == b"good"


async def test_closing_gives_up_the_exchange_under_way(make: Make) -> None:
    arrived = asyncio.Event()

    async def hold(frame: bytes) -> bytes:
        arrived.set()
        return await never(frame)

    source, target = make(), make()
    await source.start(echo)
    await target.start(hold)
    waiting = asyncio.create_task(source.exchange(target.endpoint, b"frame"))
    await asyncio.wait_for(arrived.wait(), 20)
    await source.close()
    assert (await fault_of(waiting)).fault is Fault.UNREACHABLE


async def test_a_peer_that_closes_while_it_answers_is_unreachable(make: Make) -> None:
    arrived = asyncio.Event()

    async def hold(frame: bytes) -> bytes:
        arrived.set()
        return await never(frame)

    source, target = make(), make()
    await source.start(echo)
    await target.start(hold)
    waiting = asyncio.create_task(source.exchange(target.endpoint, b"frame"))
    await asyncio.wait_for(arrived.wait(), 20)
    await target.close()
    assert (await fault_of(waiting)).fault is Fault.UNREACHABLE


async def test_an_exchange_after_close_fails_and_close_may_be_repeated(make: Make) -> None:
    source, target = make(), make()
    await source.start(echo)
    await target.start(echo)
    await source.close()
    await source.close()
    assert (await fault_of(source.exchange(target.endpoint, b"frame"))).fault is Fault.UNREACHABLE


async def test_a_transport_that_was_never_started_can_be_closed(make: Make) -> None:
    await make().close()


async def test_an_abandoned_exchange_leaves_the_transport_usable(make: Make) -> None:
    arrived = asyncio.Event()

    async def hold_first(frame: bytes) -> bytes:
        if frame == b"hold":
            arrived.set()
            return await never(frame)
        return b"answer"

    source, target = make(), make()
    await source.start(echo)
    await target.start(hold_first)
    waiting = asyncio.create_task(source.exchange(target.endpoint, b"hold"))
    await asyncio.wait_for(arrived.wait(), 20)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await source.exchange(target.endpoint, b"go on") == b"answer"
