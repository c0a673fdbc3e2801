"""A member without room backs off: it does not keep asking for the same rows.

Its requests are counted from the time when its disk fills up until it has room. It may ask each peer once per gossip
interval, which is the shortest pause, and a few times more at the beginning. A walk may follow a pull that the peer
cannot serve, so pulls and walks are counted apart. A pull does not count if it brings nothing because the peer does not
list the member. A sync of `sys` must end that, and each round asks again.
"""

from __future__ import annotations

from collections import Counter

from gossipkv.core.model.address import USER
from gossipkv.core.protocol.messages import Envelope, Pull, Unlisted, WalkBegin
from gossipkv.simulation.checkers.checker import Checker
from gossipkv.simulation.checkers.history import History
from gossipkv.simulation.world.disk import Disk
from gossipkv.simulation.world.host import Host

BEGINNINGS_MAX = 3
"""The number of requests allowed per peer besides one per interval: requests under way when the disk filled up, and
other transfers."""


class RoomChecker(Checker):
    """The checker that a member without room backs off."""

    name = "room"

    def __init__(self, history: History) -> None:
        super().__init__(history)
        self._asked: dict[str, tuple[Disk, int, Counter[str]]] = {}
        """For each host whose disk is full: the disk, the time since which it is full, and the numbers of pulls and
        walks."""

    def leaving(self, host: Host, envelope: Envelope) -> None:
        """Count the pulls and walks that a member without room begins, and check their number."""
        if any(isinstance(message, Unlisted) and message.shard == USER for message in envelope.messages):
            for name, (_, _, asked) in self._asked.items():
                asked["pull"] -= name != host.name
        if not host.disk.is_full:
            self._asked.pop(host.name, None)
            return
        begun = [m for m in envelope.messages if isinstance(m, Pull | WalkBegin) and m.shard == USER]
        # A clock that is set back must not make the time seem shorter.
        now_ms = host.now_ms() - host.skew_ms
        known = self._asked.get(host.name)
        since_ms, asked = known[1:] if known is not None and known[0] is host.disk else (now_ms, Counter[str]())
        asked["pull"] += len([message for message in begun if isinstance(message, Pull) and message.cursor is None])
        asked["walk"] += len([message for message in begun if isinstance(message, WalkBegin)])
        self._asked[host.name] = (host.disk, since_ms, asked)
        assert host.process is not None
        replica = host.process.replica
        intervals = (now_ms - since_ms) / (0.75 * replica.options.gossip_interval_ms)
        allowed = len(replica.peers) * (BEGINNINGS_MAX + intervals)
        self.require(
            max(asked.values()) <= allowed,
            host.name,
            "without room has asked for rows",
            asked,
            "times, not",
            int(allowed),
        )
