"""A network in memory with the faults of real networks, chosen by a seed.

`NetworkFaults` decides what happens to each frame, and has no clock. The simulation asks it with a heap of
virtual time, `MemoryNetwork` with an event loop. Frames travel as bytes here too, so that what works in
memory has been through the codec.
"""

from __future__ import annotations

import asyncio
import errno
import random
from collections import Counter
from collections.abc import Collection, Coroutine
from dataclasses import dataclass
from itertools import permutations, product

import structlog

from gossipkv.transport.base import ExchangeError, ExchangeRefusedError, Fault, Serve

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FaultRates:
    """The probabilities of faults, 0 to 1, per frame (delay and reorder: per copy that arrives)."""

    drop: float = 0.0
    duplicate: float = 0.0
    delay: float = 0.0
    """The probability that a copy arrives `delay_ms_min` to `delay_ms_max` late."""
    reorder: float = 0.0
    """The probability that a copy is held back for more than `delay_ms_max`, so frames sent later arrive earlier."""
    delay_ms_min: int = 0
    delay_ms_max: int = 100


NO_FAULTS = FaultRates()


class NetworkFaults:
    """The decisions about what happens to each frame. The same seed and the same calls give the same plans."""

    def __init__(self, rng: random.Random, rates: FaultRates = NO_FAULTS) -> None:
        self.rates = rates
        """The present probabilities; they may be replaced at any time."""
        self.fired: Counter[str] = Counter()
        """The number of faults of each kind: `drops`, `duplicates`, `delays`, `reorders`, `cuts`."""
        self._rng = rng
        self._cuts: set[tuple[str, str]] = set()

    def cut(self, source: str, destination: str) -> None:
        """Lose all frames in this direction. Frames in the other direction still arrive."""
        self._cuts.add((source, destination))

    def partition(self, *sides: Collection[str]) -> None:
        """Lose all frames between endpoints of different sides."""
        for sources, destinations in permutations(sides, 2):
            self._cuts.update(product(sources, destinations))

    def heal(self) -> None:
        """Undo all cuts and partitions."""
        self._cuts.clear()

    def plan(self, source: str, destination: str) -> list[int]:
        """Return after how many ms each copy of a frame arrives: no copy if the frame is lost, two if it is
        duplicated."""
        if (source, destination) in self._cuts:
            self.fired["cuts"] += 1
            return []
        if self._strikes("drops", self.rates.drop):
            return []
        copies = 2 if self._strikes("duplicates", self.rates.duplicate) else 1
        return [self._delay_ms() for _ in range(copies)]

    def _delay_ms(self) -> int:
        rates = self.rates
        delay_ms = 0
        if self._strikes("delays", rates.delay):
            delay_ms += self._rng.randint(rates.delay_ms_min, rates.delay_ms_max)
        if self._strikes("reorders", rates.reorder):
            delay_ms += rates.delay_ms_max + self._rng.randint(1, max(1, rates.delay_ms_max))
        return delay_ms

    def _strikes(self, fault: str, probability: float) -> bool:
        strikes = self._rng.random() < probability
        if strikes:
            self.fired[fault] += 1
        return strikes


class MemoryNetwork:
    """The transports of one process, joined by their endpoints."""

    def __init__(
        self,
        faults: NetworkFaults | None = None,
        *,
        exchange_timeout_ms: int = 5_000,
        frame_bytes_max: int = 2 * 1024 * 1024,
    ) -> None:
        self.faults = faults or NetworkFaults(random.Random(0))
        self.exchange_timeout_ms = exchange_timeout_ms
        self.frame_bytes_max = frame_bytes_max
        self.transports: dict[str, MemoryTransport] = {}
        """The transports that serve, by endpoint."""


FrameOrError = bytes | ExchangeError


class MemoryTransport:
    """One endpoint of a MemoryNetwork."""

    def __init__(self, network: MemoryNetwork, endpoint: str) -> None:
        self._network = network
        self._endpoint = endpoint
        self._serve: Serve | None = None
        self._is_closed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._exchanges: set[asyncio.Future[FrameOrError]] = set()

    @property
    def endpoint(self) -> str:
        """The endpoint that this transport was made with; it is valid before `start` too."""
        return self._endpoint

    async def start(self, serve: Serve) -> None:
        """Begin to answer frames. Raises OSError if another transport of the network serves this endpoint."""
        if self._endpoint in self._network.transports:
            raise OSError(errno.EADDRINUSE, f"the endpoint {self._endpoint} is in use")
        self._serve = serve
        self._network.transports[self._endpoint] = self

    async def exchange(self, endpoint: str, frame: bytes) -> bytes:
        """Send a frame through the faults of the network, and return the first answer. Raises ExchangeError."""
        if self._is_closed:
            raise ExchangeError(Fault.UNREACHABLE, "this transport is closed")
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[FrameOrError] = loop.create_future()
        for delay_ms in self._network.faults.plan(self._endpoint, endpoint):
            loop.call_later(delay_ms / 1000, self._arrive, endpoint, frame, answered)
        self._exchanges.add(answered)
        try:
            async with asyncio.timeout(self._network.exchange_timeout_ms / 1000):
                answer = await answered
        except TimeoutError:
            detail = f"{endpoint} did not answer within {self._network.exchange_timeout_ms} ms"
            raise ExchangeError(Fault.TIMEOUT, detail) from None
        finally:
            self._exchanges.discard(answered)
        if isinstance(answer, ExchangeError):
            raise answer
        return answer

    async def close(self) -> None:
        """Stop answering, and fail exchanges under way as unreachable. Idempotent."""
        self._is_closed = True
        if self._network.transports.get(self._endpoint) is self:
            del self._network.transports[self._endpoint]
        for answered in list(self._exchanges):
            _settle(answered, ExchangeError(Fault.UNREACHABLE, "this transport was closed"))
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _arrive(self, endpoint: str, frame: bytes, answered: asyncio.Future[FrameOrError]) -> None:
        """Deliver one copy of a request."""
        peer = self._network.transports.get(endpoint)
        if peer is None:
            _settle(answered, ExchangeError(Fault.UNREACHABLE, f"nothing serves {endpoint}"))
        else:
            peer._spawn(peer._answer(self._endpoint, frame, answered))

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, source: str, frame: bytes, answered: asyncio.Future[FrameOrError]) -> None:
        try:
            answer = await self._served(frame)
        except asyncio.CancelledError:
            _settle(answered, ExchangeError(Fault.UNREACHABLE, f"{self._endpoint} was closed"))
            raise
        for delay_ms in self._network.faults.plan(self._endpoint, source):
            asyncio.get_running_loop().call_later(delay_ms / 1000, _settle, answered, answer)

    async def _served(self, frame: bytes) -> FrameOrError:
        assert self._serve is not None
        limit = self._network.frame_bytes_max
        if len(frame) > limit:
            return ExchangeError(Fault.REFUSED, f"{len(frame)} bytes are more than {limit}")
        try:
            answer = await self._serve(frame)
        except ExchangeRefusedError as refusal:
            return ExchangeError(Fault.REFUSED, str(refusal))
        except Exception:
            _log.exception("frame_not_answered", endpoint=self._endpoint)
            return ExchangeError(Fault.REFUSED, f"{self._endpoint} failed to answer")
        if len(answer) > limit:
            return ExchangeError(Fault.MALFORMED, f"an answer of {len(answer)} bytes, more than {limit}")
        return answer


def _settle(answered: asyncio.Future[FrameOrError], answer: FrameOrError) -> None:
    """Set the answer if there is none yet. Later answers, and those after the deadline, are dropped."""
    if not answered.done():
        answered.set_result(answer)
