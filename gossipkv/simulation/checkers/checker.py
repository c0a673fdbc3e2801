"""The base of all checkers: the events that a checker may observe, and how it reports a violation.

Each checker verifies one promise. It counts its checks, because a checker that never checked anything proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gossipkv.core.model.row import StoredRow
from gossipkv.core.model.tally import Notice
from gossipkv.core.model.write import Operation, Result
from gossipkv.core.protocol.messages import Envelope
from gossipkv.core.watch.watching import WatchEvent
from gossipkv.simulation.checkers.history import History
from gossipkv.simulation.outcome import ViolationError
from gossipkv.simulation.world.disk import Commit, Disk
from gossipkv.simulation.world.host import Host


class Checker:
    """A checker that observes nothing. Each subclass overrides the events that it needs; `name` is the name in
    reports."""

    name = "checker"

    def __init__(self, history: History) -> None:
        self.history = history
        self.checks = 0
        self.is_silent = False
        """Whether the checker only counts. A silent checker does not object."""

    def require(self, holds: bool, *words: object) -> None:
        """Count one check. Raises ViolationError, with the words as its text, if the check does not hold."""
        self.checks += 1
        if not holds and not self.is_silent:
            raise ViolationError(self.name, " ".join(str(word) for word in words))

    def committed(self, commit: Commit) -> None:
        """Observe that a transaction has become durable. Nothing of it has left the member yet."""

    def acknowledged(self, host: Host, shard: str, operations: Sequence[Operation], results: list[Result]) -> None:
        """Observe that a client has received the results of its operations."""

    def read(self, host: Host, shard: str, address: bytes, row: StoredRow | None) -> None:
        """Observe that a client has read a row; None if there was none."""

    def told(self, host: Host, watcher: str, told: WatchEvent) -> None:
        """Observe that a member has sent a watcher a row."""

    def watch_reset(self, watcher: str) -> None:
        """Observe that a watcher has been reset: it cannot resume, and starts again."""

    def watches_ended(self, watchers: Mapping[str, bytes], hosts: Sequence[Host]) -> None:
        """Observe that these watchers have been sent everything. Each comes with the prefix of its addresses."""

    def leaving(self, host: Host, envelope: Envelope) -> None:
        """Observe that an envelope goes onto the network."""

    def noticed(self, host: Host, notices: Sequence[Notice]) -> None:
        """Observe that a member logs notices."""

    def disk_lost(self, surviving: Sequence[Disk]) -> None:
        """Observe that a member's disk is lost for good; these disks remain."""

    def set_back(self, host: Host) -> None:
        """Observe that the disk of a member that is down has been replaced by an old copy."""

    def stopped(self, host: Host, waiting: Sequence[int]) -> None:
        """Observe that a process is about to stop gracefully, while clients still wait under these tickets."""

    def asked(self, host: Host) -> None:
        """Observe that a client asks a member for what stands in its snapshot."""

    def fencing(self, host: Host) -> None:
        """Observe that a durable batch shows that the member's data are outdated. Nothing has come of it yet."""

    def fenced(self, host: Host) -> None:
        """Observe that a member is about to set its data aside."""

    def examined(self, host: Host) -> None:
        """Check everything that a member holds: it is up, and between batches."""

    def converged(self, hosts: Sequence[Host]) -> None:
        """Observe that all members have become equal."""

    def ended(self, hosts: Sequence[Host]) -> None:
        """Check the members some rounds after they have converged; nothing may have changed."""
