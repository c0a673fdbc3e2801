"""The counters of a replica, and the notices that it leaves for the log."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Notice:
    """A change of state, to be logged."""

    event: str
    fields: dict[str, object]
    is_warning: bool = False
    """Whether an operator must act on it."""


FINGERPRINTS_DIFFER = "fingerprints_differ"
"""Two members have equal contexts and unequal fingerprints."""
DOT_COLLISION = "dot_collision"
"""Two writes have one dot: two processes have run on copies of one volume."""
ANOMALIES = (FINGERPRINTS_DIFFER, DOT_COLLISION)


@dataclass(slots=True)
class Tally:
    """The counters since the start of the process; they only grow."""

    rounds: Counter[str] = field(default_factory=Counter)
    """Sync rounds begun here, by result: in_sync, delta, walk, failed."""
    rows_refused: Counter[str] = field(default_factory=Counter)
    """Rows of others that were not taken in, by reason."""
    rows_received: int = 0
    """Rows that arrived, known ones included."""
    rows_sent: int = 0
    anomalies: Counter[str] = field(default_factory=Counter)
    """States that should never occur, by kind; see `ANOMALIES`."""
    envelopes_refused: Counter[str] = field(default_factory=Counter)
    """Envelopes of others that were not handled, by reason."""
    probes: Counter[str] = field(default_factory=Counter)
    """Probes begun here, by result: direct, indirect, heard (an exchange of gossip was answered), failed."""
    suspicions: Counter[str] = field(default_factory=Counter)
    """Suspicions begun here (`begun`), and results of those held here: refuted, dead, and false_dead (alive after all).
    """
    rumours_refused: int = 0
    """Rumours about a start too far ahead of the clock."""
    records_refused: Counter[str] = field(default_factory=Counter)
    """Records of members that were refused, or taken without an endpoint, by reason."""
    origins_refused: Counter[str] = field(default_factory=Counter)
    """Per shard, ranges and claims of origins that were not covered because the context names too many."""
    proofs_refused: int = 0
    """Proofs that call the data here outdated and are not believed."""
    forgettings_refused: int = 0
    """Rows of `sys.forgotten` that are not believed, because they name this replica or one that answers."""
    refutations: int = 0
    """Suspicions of this member that it has refuted."""
    wakes_late: int = 0
    """Number of times that this member found that it had been paused, or that its clock had jumped forward."""
    reads_repaired: int = 0
    """Copies that a read of several members found to be behind, and that were sent the merged row."""
    conflicts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By namespace and table, concurrent versions dropped in a merge because a later write wins."""
    has_new_conflicts: bool = False
    """Whether `conflicts` has changed since the last snapshot."""
    writes_stamped_again: int = 0
    """Writes that this member made while its clock was ahead and has stamped again; see `core/upkeep/restamping.py`."""
    tombstones_collected: int = 0
    siblings_over_limit: int = 0
    """Merges that left a row with more siblings than a write may leave."""
    puts_refused: int = 0
    """Operations of clients refused because there was no room."""

    def count_conflicts(self, namespace: str, table: str, versions: int) -> None:
        """Count versions dropped in a merge of a row of this table."""
        self.conflicts[namespace, table] += versions
        self.has_new_conflicts = True

    def copy(self) -> Tally:
        """Return a copy that later counts do not change."""
        return replace(
            self,
            rounds=Counter(self.rounds),
            rows_refused=Counter(self.rows_refused),
            anomalies=Counter(self.anomalies),
            envelopes_refused=Counter(self.envelopes_refused),
            probes=Counter(self.probes),
            suspicions=Counter(self.suspicions),
            records_refused=Counter(self.records_refused),
            origins_refused=Counter(self.origins_refused),
            conflicts=Counter(self.conflicts),
        )
