"""The promises of the store, each verified by its own checker."""

from __future__ import annotations

from gossipkv.simulation.checkers.answers.quorums import QuorumReadsChecker, ReceiptsChecker
from gossipkv.simulation.checkers.answers.reads import ReadsChecker
from gossipkv.simulation.checkers.answers.snapshots import SnapshotsChecker
from gossipkv.simulation.checkers.answers.waits import WaitsChecker
from gossipkv.simulation.checkers.answers.watches import WatchesChecker
from gossipkv.simulation.checkers.bounds.bounds import BoundsChecker
from gossipkv.simulation.checkers.bounds.room import RoomChecker
from gossipkv.simulation.checkers.checker import Checker
from gossipkv.simulation.checkers.deletion.deleted import DeletedChecker, TombstoneCollectionChecker
from gossipkv.simulation.checkers.deletion.expiry import ExpiriesChecker
from gossipkv.simulation.checkers.history import History
from gossipkv.simulation.checkers.members.clocks import ClocksChecker
from gossipkv.simulation.checkers.members.fences import FencesChecker
from gossipkv.simulation.checkers.members.letting_go import LettingGoChecker
from gossipkv.simulation.checkers.members.living import LivingChecker
from gossipkv.simulation.checkers.members.old_volumes import OldVolumesChecker
from gossipkv.simulation.checkers.members.retirements import RetirementsChecker
from gossipkv.simulation.checkers.members.twins import TwinsChecker
from gossipkv.simulation.checkers.rows.acknowledged import AcknowledgedWritesChecker
from gossipkv.simulation.checkers.rows.contexts import ContextsChecker, DurabilityChecker, KnowledgeChecker
from gossipkv.simulation.checkers.rows.convergence import ConvergenceChecker, RoundsChecker
from gossipkv.simulation.checkers.rows.derived import AnomaliesChecker, FingerprintsChecker, JournalChecker
from gossipkv.simulation.checkers.rows.order import WriteOrderChecker
from gossipkv.simulation.checkers.rows.rows import DotsChecker, SuccessorsChecker
from gossipkv.simulation.checkers.rows.seen import SeenContextsChecker
from gossipkv.simulation.checkers.rows.siblings import SiblingsChecker

__all__ = ["CHECKERS", "Checker", "all_checkers"]

CHECKERS: tuple[type[Checker], ...] = (
    DotsChecker,
    DeletedChecker,
    SuccessorsChecker,
    ContextsChecker,
    AcknowledgedWritesChecker,
    WriteOrderChecker,
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
