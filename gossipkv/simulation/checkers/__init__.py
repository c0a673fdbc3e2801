"""The promises of the store, each verified by its own checker."""

from __future__ import annotations

from gossipkv.simulation.checkers.acknowledged import AcknowledgedWrites
from gossipkv.simulation.checkers.bounds import Bounds
from gossipkv.simulation.checkers.checker import Checker
from gossipkv.simulation.checkers.clocks import Clocks
from gossipkv.simulation.checkers.contexts import Contexts, Durability, Knowledge
from gossipkv.simulation.checkers.convergence import Convergence, Rounds
from gossipkv.simulation.checkers.deleted import Deleted, TombstoneCollection
from gossipkv.simulation.checkers.derived import Anomalies, Fingerprints, Journal
from gossipkv.simulation.checkers.expiry import Expiries
from gossipkv.simulation.checkers.fences import Fences
from gossipkv.simulation.checkers.letting_go import LettingGo
from gossipkv.simulation.checkers.living import Living
from gossipkv.simulation.checkers.old_volumes import OldVolumes
from gossipkv.simulation.checkers.quorums import QuorumReads, Receipts
from gossipkv.simulation.checkers.reads import Reads
from gossipkv.simulation.checkers.retirements import Retirements
from gossipkv.simulation.checkers.room import Room
from gossipkv.simulation.checkers.rows import Dots, Successors
from gossipkv.simulation.checkers.seen import SeenContexts
from gossipkv.simulation.checkers.siblings import Siblings
from gossipkv.simulation.checkers.snapshots import Snapshots
from gossipkv.simulation.checkers.twins import Twins
from gossipkv.simulation.checkers.waits import Waits
from gossipkv.simulation.checkers.watches import Watches
from gossipkv.simulation.history import History

__all__ = ["CHECKERS", "Checker", "all_checkers"]

CHECKERS: tuple[type[Checker], ...] = (
    Dots,
    Deleted,
    Successors,
    Contexts,
    AcknowledgedWrites,
    Clocks,
    SeenContexts,
    Reads,
    Durability,
    Knowledge,
    Fingerprints,
    Journal,
    Anomalies,
    Bounds,
    Room,
    Convergence,
    Rounds,
    LettingGo,
    Living,
    Receipts,
    QuorumReads,
    Siblings,
    Expiries,
    TombstoneCollection,
    Retirements,
    Watches,
    Waits,
    Snapshots,
    Fences,
    Twins,
    OldVolumes,
)
"""The checkers in the order in which they run. Dots is first, because it adds each new write to the history. Deleted is
next, because it adds what is collected."""


AMONG_COPIES = (Fingerprints, Convergence, Rounds, TombstoneCollection, Retirements, Twins, OldVolumes)
"""The checkers that do not assume that a dot names one write."""


def all_checkers(history: History, *, are_copies: bool) -> list[Checker]:
    """Return a new checker of each type. In runs with copied volumes, return only those that do not rely on dots."""
    checkers = [checker(history) for checker in (AMONG_COPIES if are_copies else CHECKERS)]
    for checker in checkers:
        if isinstance(checker, Convergence):
            checker.counts_tombstones = not are_copies
    return checkers
