"""Two members in this process: real replicas, storage and frames, and an exchange only when told to.

Time is virtual, so that a sync round is due when the benchmark says so.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import StepError
from gossipkv.codec import Limits, decode, encode
from gossipkv.core.effects import Send
from gossipkv.core.inputs import Answer, Answered, Discovered, Failed, Input, Received, Tick
from gossipkv.core.model.address import NAMESPACES, USER
from gossipkv.core.options import ReplicaOptions
from gossipkv.core.protocol.messages import Envelope
from gossipkv.member.group_commit import GroupCommit
from gossipkv.member.node import wall_clock_ms
from gossipkv.storage.lmdb import LmdbStorage

_LIMITS = Limits()
_DAY_MS = 86_400_000
_EXCHANGES_MAX = 1_000
_ROUND_MS = 5_000
"""Longer than any pause between two rounds."""


@dataclass(slots=True)
class Traffic:
    """What exchanges have cost."""

    exchanges: int = 0
    bytes: int = 0
    cpu_ms: float = 0.0
    last_frames: tuple[int, int] = (0, 0)
    """Bytes asked and answered in the last exchange."""


class Side:
    """One member over a data directory."""

    def __init__(self, name: str, data_dir: Path) -> None:
        self.name = name
        self.endpoint = f"memory://{name}"
        self.now_ms = wall_clock_ms()
        self.sends: list[Send[Envelope]] = []
        self._storage = LmdbStorage(data_dir)
        options = ReplicaOptions(
            member=name,
            endpoints={"gossip": self.endpoint},
            audit_interval_ms=_DAY_MS,
            retry_ms_max=_ROUND_MS,
            # Probes go out at the start and never again: only what sync rounds cost is to be counted.
            protocol_period_ms=_DAY_MS,
        )
        self.driver, effects = GroupCommit.open(self._storage, options, random.Random(name), self.now_ms)
        self.sends += effects.sends

    def take(self, happened: Input) -> Answer:
        batch = self.driver.run([happened], self.now_ms)
        self.sends += batch.effects.sends
        [outcome] = batch.outcomes
        if isinstance(outcome, Exception):
            raise StepError(f"member {self.name} failed: {outcome}") from outcome
        return outcome

    def state(self) -> list[tuple[int, dict[int, int]]]:
        """Fingerprint and context per shard."""
        shards = self.driver.replica.shards
        return [(shards[name].fingerprint.root.visible, dict(shards[name].context)) for name in NAMESPACES]

    @property
    def rows(self) -> int:
        """In the shard of the users."""
        return self.driver.replica.shards[USER].totals.rows

    def close(self) -> None:
        self._storage.close()


class Pair:
    """Two members that reach each other."""

    def __init__(self, ours: Side, theirs: Side) -> None:
        self.ours = ours
        self.theirs = theirs
        self._sides = {side.endpoint: side for side in (ours, theirs)}
        ours.take(Discovered((theirs.endpoint,)))
        theirs.take(Discovered((ours.endpoint,)))

    @property
    def are_equal(self) -> bool:
        return self.ours.state() == self.theirs.state()

    def pass_time(self) -> None:
        for side in self._sides.values():
            side.now_ms += _ROUND_MS

    def begin_round(self) -> None:
        """Our side is due to begin a sync round, and the other is not asked."""
        self.pass_time()
        self.ours.take(Tick())

    def lose_sends(self) -> None:
        """What is under way does not arrive."""
        for side in self._sides.values():
            sends, side.sends = side.sends, []
            for send in sends:
                side.take(Failed(send.exchange, "lost"))

    def carry_all(self) -> Traffic:
        """Carry exchanges out until neither side has anything more to say. Raises StepError."""
        traffic = Traffic()
        while any(side.sends for side in self._sides.values()):
            for side in self._sides.values():
                sends, side.sends = side.sends, []
                for send in sends:
                    self._carry(side, send, traffic)
            if traffic.exchanges > _EXCHANGES_MAX:
                raise StepError(f"two members had not finished after {_EXCHANGES_MAX} exchanges")
        return traffic

    def _carry(self, source: Side, send: Send[Envelope], traffic: Traffic) -> None:
        """There and back: all of the work of both members."""
        began = time.process_time()
        asked = encode(send.content)
        answer = self._sides[send.endpoint].take(Received(decode(asked, _LIMITS)))
        assert isinstance(answer, Envelope), "an envelope is answered by one"
        answered = encode(answer)
        source.take(Answered(send.exchange, decode(answered, _LIMITS)))
        traffic.cpu_ms += (time.process_time() - began) * 1000
        traffic.exchanges += 1
        traffic.bytes += len(asked) + len(answered)
        traffic.last_frames = (len(asked), len(answered))

    def settle(self) -> None:
        """Until both hold the same and know it. Raises StepError."""
        for _ in range(20):
            self.pass_time()
            for side in self._sides.values():
                side.take(Tick())
            if not any(side.sends for side in self._sides.values()) and self.are_equal:
                return
            traffic = self.carry_all()
            if traffic.exchanges <= len(self._sides) and self.are_equal:
                return
        raise StepError("two members did not come to be in sync")

    def close(self) -> None:
        for side in self._sides.values():
            side.close()
