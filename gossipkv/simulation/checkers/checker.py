"""The base of all checkers: the events that a checker may observe, and how it reports a violation.

Each checker verifies one promise. It counts its checks, because a checker that never checked anything proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gossipkv.core.model.row import Row
from gossipkv.core.model.tally import Notice
from gossipkv.core.model.write import Operation, Result
from gossipkv.core.protocol.messages import Envelope
from gossipkv.core.watch.watching import Told
from gossipkv.simulation.disk import Commit, Disk
from gossipkv.simulation.history import History
from gossipkv.simulation.host import Host
from gossipkv.simulation.outcome import ViolationError


class Checker:
    name = "checker"

    def __init__(self, history: History) -> None:
        self.history = history
        self.checks = 0
        self.is_silent = False
        """A silent checker counts and does not object."""

    def require(self, holds: bool, *words: object) -> None:
        """Count one check. Raises ViolationError when it does not hold."""
        self.checks += 1
        if not holds and not self.is_silent:
            raise ViolationError(self.name, " ".join(str(word) for word in words))

    def committed(self, commit: Commit) -> None:
        """A transaction has become durable, and nothing of it has left the member yet."""

    def acknowledged(self, host: Host, shard: str, operations: Sequence[Operation], results: list[Result]) -> None:
        """A client has got the results of its operations."""

    def read(self, host: Host, shard: str, address: bytes, row: Row | None) -> None:
        """A client has read a row."""

    def told(self, watcher: str, told: Told) -> None:
        """A watcher has been sent a row."""

    def watch_reset(self, watcher: str) -> None:
        """A watcher has been reset: it cannot resume, and starts over."""

    def watches_ended(self, watchers: Mapping[str, bytes], hosts: Sequence[Host]) -> None:
        """These watchers, each with the prefix of its addresses, have been sent everything."""

    def leaving(self, host: Host, envelope: Envelope) -> None:
        """An envelope goes onto the network."""

    def noticed(self, host: Host, notices: Sequence[Notice]) -> None:
        """A member logs notices."""

    def disk_lost(self, surviving: Sequence[Disk]) -> None:
        """A member's disk is lost for good; these remain."""

    def set_back(self, host: Host) -> None:
        """The disk of a member that is down has been replaced by an old copy."""

    def stopped(self, host: Host, waiting: Sequence[int]) -> None:
        """A process is about to stop gracefully; clients still wait under these tickets."""

    def fenced(self, host: Host) -> None:
        """A member sets its data aside."""

    def examined(self, host: Host) -> None:
        """A good time to check everything that a member holds: it is up, and between batches."""

    def converged(self, hosts: Sequence[Host]) -> None:
        """All members have become equal."""

    def ended(self, hosts: Sequence[Host]) -> None:
        """Some rounds later; nothing may have changed."""
