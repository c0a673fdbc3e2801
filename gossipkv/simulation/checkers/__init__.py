"""The promises of the store, each verified by its own checker."""

from __future__ import annotations

from gossipkv.simulation.checkers.acknowledged import AcknowledgedWritesChecker
from gossipkv.simulation.checkers.bounds import BoundsChecker
from gossipkv.simulation.checkers.checker import Checker
from gossipkv.simulation.checkers.clocks import ClocksChecker
from gossipkv.simulation.checkers.contexts import ContextsChecker, DurabilityChecker, KnowledgeChecker
from gossipkv.simulation.checkers.convergence import ConvergenceChecker, RoundsChecker
from gossipkv.simulation.checkers.deleted import DeletedChecker, TombstoneCollectionChecker
from gossipkv.simulation.checkers.derived import AnomaliesChecker, FingerprintsChecker, JournalChecker
from gossipkv.simulation.checkers.expiry import ExpiriesChecker
from gossipkv.simulation.checkers.fences import FencesChecker
from gossipkv.simulation.checkers.letting_go import LettingGoChecker
from gossipkv.simulation.checkers.living import LivingChecker
from gossipkv.simulation.checkers.old_volumes import OldVolumesChecker
from gossipkv.simulation.checkers.quorums import QuorumReadsChecker, ReceiptsChecker
from gossipkv.simulation.checkers.reads import ReadsChecker
from gossipkv.simulation.checkers.retirements import RetirementsChecker
from gossipkv.simulation.checkers.room import RoomChecker
from gossipkv.simulation.checkers.rows import DotsChecker, SuccessorsChecker
from gossipkv.simulation.checkers.seen import SeenContextsChecker
from gossipkv.simulation.checkers.siblings import SiblingsChecker
from gossipkv.simulation.checkers.snapshots import SnapshotsChecker
from gossipkv.simulation.checkers.twins import TwinsChecker
from gossipkv.simulation.checkers.waits import WaitsChecker
from gossipkv.simulation.checkers.watches import WatchesChecker
from gossipkv.simulation.history import History

__all__ = ["CHECKERS", "Checker", "all_checkers"]

CHECKERS: tuple[type[Checker], ...] = (
    DotsChecker,
    DeletedChecker,
    SuccessorsChecker,
    ContextsChecker,
    AcknowledgedWritesChecker,
    ClocksChecker,
    SeenContextsChecker,
    ReadsChecker,
    DurabilityChecker,
    KnowledgeChecker,
    FingerprintsChecker,
    JournalChecker,
    AnomaliesChecker,
    BoundsChecker,
    RoomChecker,
    ConvergenceChecker,
    RoundsChecker,
    LettingGoChecker,
    LivingChecker,
    ReceiptsChecker,
    QuorumReadsChecker,
    SiblingsChecker,
    ExpiriesChecker,
    TombstoneCollectionChecker,
    RetirementsChecker,
    WatchesChecker,
    WaitsChecker,
    SnapshotsChecker,
    FencesChecker,
    TwinsChecker,
    OldVolumesChecker,
)
"""The checkers in the order in which they run. Dots is first, because it adds each new write to the history. Deleted is
next, because it adds what is collected."""


AMONG_COPIES = (
    FingerprintsChecker,
    ConvergenceChecker,
    RoundsChecker,
    TombstoneCollectionChecker,
    RetirementsChecker,
    TwinsChecker,
    OldVolumesChecker,
)
"""The checkers that do not assume that a dot names one write."""


def all_checkers(history: History, *, are_copies: bool) -> list[Checker]:
    """Return a new checker of each type. In runs with copied volumes, return only those that do not rely on dots."""
    checkers = [checker(history) for checker in (AMONG_COPIES if are_copies else CHECKERS)]
    for checker in checkers:
        if isinstance(checker, ConvergenceChecker):
            checker.counts_tombstones = not are_copies
    return checkers
