"""The shape of one run, drawn from its seed: small and large clusters, messages, tables and bounds in all mixtures.

A mixture of everything brings about some situations once in a hundred runs. An emphasis is a shape in which one of them
is common; a share of the seeds has one.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from enum import Enum

from gossipkv.core.protocol.parcel import WHOLE_ROW_BYTES_MAX
from gossipkv.transport.memory import FaultRates

SAFETY_MS = 3_000
EXCHANGE_TIMEOUT_MS = 150
RETRY_MS_MAX = 800
MESSAGE_LIFE_MS = 200
BESIDE = "beside"
"""The table that keeps siblings."""

EMPHASIS_SHARE = 0.06
"""Of the seeds, how many have an emphasis."""


class Emphasis(Enum):
    PARTS = "parts"
    """Members that were away for a while pull the writes of several others, in parts, while these go on writing."""
    NEWCOMERS = "newcomers"
    """Members with nothing come into a cluster that writes the same few rows everywhere: they walk, then pass on what
    they got to the next, and what all the others cover has left the rows."""
    HEARSAY = "hearsay"
    """Each write goes to one member, which passes it on, and many frames are lost: rows run ahead of contexts."""
    FULL = "full"
    """Members have no room for a while, and others go on writing."""
    OLD_VOLUMES = "old volumes"
    """The volume of a member is copied, a row is deleted and collected, members fill themselves again, and then the
    member is set back to the copy, in every order."""
    TWINS = "twins"
    """The volume of a member is copied while it runs or is down, and a second process runs on the copy under the same
    name. Both take writes."""
    REFUSED = "refused"
    """Members cannot take in single rows for a while, which others get from them or past them."""
    UNREADABLE = "unreadable"
    """Rows on disks become unreadable, and others get their ranges from the members that had them."""
    LARGE_ROWS = "large_rows"
    """Most values are larger than what travels in one piece, and many frames are lost between the fragments."""
    REPLACED = "replaced"
    """All members go at once and come back at other addresses, which a discovery that watches tells of once."""
    ALONE = "alone"
    """Members start with nothing while they reach no one, and take writes to the rows that others write."""
    CLOCKS = "clocks"
    """The clocks of one or two members are far ahead for a while, and are then set right."""
    STRANGERS = "strangers"
    """Someone who is no member forges rumours, records, incarnations, contexts, marks and coverage."""
    REPLACEMENTS = "replacements"
    """Members lose their disks again and again, and are calm for long enough in between that those who went are
    retired."""
    INTERRUPTED = "interrupted"
    """As with old volumes, and the member that fills itself from one is interrupted in the midst of it."""
    HANDED_DOWN = "handed down"
    """As with old volumes, and all that an old volume meets is a member that has filled itself since the deletion."""
    RETIRED = "retired"
    """A replica that is gone is retired, one member misses what replaces its writes, and another one with nothing hears
    of the replacement first, and then of what was replaced."""
    FORGOTTEN = "forgotten"
    """Members that are down are forgotten, and take requests after their return before they hear of that."""


class Fill(Enum):
    """When a member fills itself, beside an old volume."""

    ANY = "any"
    """From the others before, or from the old volume."""
    IN_PART = "in part"
    """From the old volume, and not to the end."""
    BEFORE = "before"
    """From the others before."""


@dataclass(frozen=True, slots=True)
class Scenario:
    members: int
    is_chain: bool
    """Each member reaches only its neighbours, so that all others know of its writes from third parties."""
    joining: int
    """How many more may join during the safety phase."""
    tables: int
    keys: int
    prefilled_rows: int
    """Written at the start, so that a few missing ones are a small share of all."""
    value_bytes_max: int
    write_interval_ms: int
    fault_interval_ms: int
    gossip_interval_ms: int
    audit_interval_ms: int
    clock_skew_ms_max: int
    fanout: int
    part_bytes: int
    whole_row_bytes_max: int
    """Rows above this are named, and their values fetched in fragments of this size."""
    commit_ms_max: int
    frequent_faults: tuple[str, ...]
    """Those that strike far more often than the others."""
    rates: FaultRates
    lists_members: bool
    """Discovery knows all members that exist, as Kubernetes does, and tells of them late."""
    tombstone_age_ms_min: int
    retires: bool = False
    """A member misses what replaces the writes of a replica that is retired."""
    old_volumes: int = 0
    """How many times a member is set back to an old copy of its volume, among members that fill themselves."""
    fill: Fill = Fill.ANY
    clock_ahead_ms: int = 0
    """How far the clocks of one or two members are ahead for a while; 0: clocks jump at random."""
    twins: int = 0
    """How many members get a second process on a copy of their volume."""
    forgery_interval_ms: int = 0
    """Mean time between two forgeries of a stranger; 0: there is none."""
    forget_silence_ms: int = 0
    """How long a member has been silent when others believe that it is forgotten."""
    forges_names: bool = False
    """Whether he names writes of members which they have not made."""
    are_set_back: bool = field(default=False, repr=False)
    """Whether disks are put back that lack their members' last writes."""
    batch_inputs_max: int = field(default=4, repr=False)
    """The number of inputs that a batch takes. It is small, so that a part of the inbox often waits for the next
    batch."""

    @property
    def are_copies(self) -> bool:
        """Whether volumes are copied, or names are forged, so that a dot may name two writes."""
        return bool(self.twins or self.old_volumes or self.forges_names or self.are_set_back)

    @classmethod
    def drawn(cls, rng: random.Random, emphasis: Emphasis | None = None) -> Scenario:
        """A scenario with this emphasis, or with any or none."""
        mixture = cls.mixed(rng)
        if emphasis is None and rng.random() < EMPHASIS_SHARE:
            emphasis = rng.choice(list(Emphasis))
        match emphasis:
            case Emphasis.PARTS:
                return mixture._of_parts(rng)
            case Emphasis.NEWCOMERS:
                return mixture._of_newcomers(rng)
            case Emphasis.HEARSAY:
                return mixture._of_hearsay()
            case Emphasis.TWINS:
                return mixture._of_twins()
            case Emphasis.REFUSED:
                return replace(
                    mixture,
                    members=4,
                    keys=3,
                    write_interval_ms=20,
                    gossip_interval_ms=100,
                    fault_interval_ms=60,
                    frequent_faults=("refuse_row",),
                )
            case Emphasis.UNREADABLE:
                return replace(
                    mixture,
                    members=4,
                    keys=3,
                    write_interval_ms=20,
                    gossip_interval_ms=100,
                    fault_interval_ms=60,
                    frequent_faults=("spoil_row",),
                )
            case Emphasis.LARGE_ROWS:
                return mixture._of_large_rows(rng)
            case Emphasis.OLD_VOLUMES:
                return mixture._of_old_volumes()
            case Emphasis.INTERRUPTED:
                return mixture._of_aimed_old_volumes(Fill.IN_PART)
            case Emphasis.HANDED_DOWN:
                return mixture._of_aimed_old_volumes(Fill.BEFORE)
            case Emphasis.RETIRED:
                return mixture._of_the_retired()
            case Emphasis.FORGOTTEN:
                return mixture._of_the_forgotten()
            case Emphasis.REPLACED:
                return replace(
                    mixture, is_chain=False, lists_members=True, fault_interval_ms=150, frequent_faults=("replace_all",)
                )
            case Emphasis.ALONE:
                return replace(
                    mixture, is_chain=False, keys=3, write_interval_ms=15, fault_interval_ms=200, lists_members=True,
                    frequent_faults=("start_alone",),
                )  # fmt: skip
            case Emphasis.FULL:
                return mixture._of_full_disks()
            case Emphasis.CLOCKS:
                return mixture._of_clocks(rng)
            case Emphasis.STRANGERS:
                return mixture._of_strangers(rng)
            case Emphasis.REPLACEMENTS:
                return mixture._of_replacements()
            case None:
                return mixture

    def _meshed(self, members: int) -> Scenario:
        """A cluster of this many members, each of which reaches all others."""
        return replace(self, members=members, is_chain=False)

    def _quick(self) -> Scenario:
        """Commits and frames take no time to speak of, and no frame is lost."""
        return replace(self, commit_ms_max=2, rates=replace(self.rates, drop=0.0, delay=0.1, delay_ms_max=20))

    def _of_parts(self, rng: random.Random) -> Scenario:
        """A part holds few rows, and fewer than one row in four is lacking: more would call for a walk."""
        return replace(
            self._meshed(5),
            joining=0,
            keys=60,
            prefilled_rows=160,
            value_bytes_max=0,
            write_interval_ms=20,
            fault_interval_ms=150,
            gossip_interval_ms=150,
            fanout=0,
            part_bytes=rng.choice((300, 400)),
            commit_ms_max=2,
            frequent_faults=("partition", "pause"),
            rates=replace(self.rates, drop=0.02, delay=0.3, delay_ms_max=60),
        )

    def _of_large_rows(self, rng: random.Random) -> Scenario:
        """Rounds are rare and pushes few, so that rows come by pulls and walks, of which each takes several exchanges
        while others write to the same rows."""
        return replace(
            self._meshed(rng.choice((3, 4))),
            keys=rng.choice((3, 8)),
            prefilled_rows=0,
            value_bytes_max=900,
            write_interval_ms=20,
            fault_interval_ms=100,
            gossip_interval_ms=100,
            part_bytes=rng.choice((200, 512 * 1024)),
            whole_row_bytes_max=250,
            commit_ms_max=2,
            frequent_faults=("lose_disk", "crash"),
            rates=replace(self.rates, drop=0.05, delay=0.3, delay_ms_max=40),
        )

    def _of_newcomers(self, rng: random.Random) -> Scenario:
        """One message holds everything, so that what is lacking comes by push where a floor does not forbid it."""
        return replace(
            self._meshed(5),
            joining=2,
            tables=1,
            keys=rng.choice((3, 8)),
            prefilled_rows=0,
            value_bytes_max=20,
            write_interval_ms=10,
            fault_interval_ms=60,
            gossip_interval_ms=80,
            fanout=2,
            part_bytes=512 * 1024,
            commit_ms_max=10,
            frequent_faults=("lose_disk",),
            rates=replace(self.rates, drop=0.02),
        )

    def _of_replacements(self) -> Scenario:
        return replace(
            self._quick()._meshed(3),
            joining=1,
            keys=8,
            fault_interval_ms=250,
            gossip_interval_ms=60,
            fanout=0,
            frequent_faults=("lose_disk",),
            lists_members=False,
            tombstone_age_ms_min=1,
        )

    def _of_hearsay(self) -> Scenario:
        """Rounds are rare, so that what was missed stays missing for a while."""
        return replace(
            self._meshed(5),
            keys=8,
            prefilled_rows=0,
            write_interval_ms=10,
            fault_interval_ms=60,
            gossip_interval_ms=300,
            audit_interval_ms=60_000,
            fanout=1,
            part_bytes=512 * 1024,
            commit_ms_max=30,
            rates=replace(self.rates, drop=0.15, delay=0.3, reorder=0.1, delay_ms_max=60),
        )

    def _of_clocks(self, rng: random.Random) -> Scenario:
        """Nothing is lost, so that all members answer in the end. They become equal long before real time has caught up
        with the clocks that were ahead."""
        return replace(
            self,
            members=3,
            is_chain=False,
            joining=0,
            keys=8,
            write_interval_ms=20,
            fault_interval_ms=200,
            gossip_interval_ms=80,
            clock_skew_ms_max=300,
            rates=replace(self.rates, drop=0.02),
            clock_ahead_ms=rng.randint(30_000, 40_000),
        )

    def _of_strangers(self, rng: random.Random) -> Scenario:
        """Members crash and are cut off meanwhile, so that what is forged stands alone for a while."""
        return replace(
            self._quick()._meshed(3),
            joining=0,
            keys=8,
            fault_interval_ms=200,
            gossip_interval_ms=80,
            clock_skew_ms_max=500,
            forgery_interval_ms=60,
            forget_silence_ms=1_500,
            forges_names=rng.random() < 0.4,
        )

    def _of_full_disks(self) -> Scenario:
        """Frames and commits are fast and rounds are rare, so that a member that does not wait is seen to be quick.
        What does not fit is divided, and takes several commits."""
        return replace(
            self._quick()._meshed(3),
            joining=0,
            write_interval_ms=40,
            fault_interval_ms=300,
            gossip_interval_ms=500,
            commit_ms_max=1,
            frequent_faults=("stay_full", "stay_short"),
        )

    def _of_old_volumes(self) -> Scenario:
        """Tombstones are collected soon, and what is copied is about to be deleted."""
        return replace(
            self._meshed(3),
            joining=0,
            keys=6,
            prefilled_rows=30,
            value_bytes_max=20,
            write_interval_ms=30,
            fault_interval_ms=200,
            gossip_interval_ms=80,
            clock_skew_ms_max=300,
            lists_members=False,
            tombstone_age_ms_min=1,
            old_volumes=2,
        )

    def _of_aimed_old_volumes(self, fill: Fill) -> Scenario:
        """Hardly anything else happens, so that the few moments in which it matters are met."""
        return replace(
            self._quick()._of_old_volumes(),
            write_interval_ms=60,
            fault_interval_ms=1_500,
            gossip_interval_ms=40,
            part_bytes=200,
            old_volumes=1,
            fill=fill,
        )

    def _of_the_retired(self) -> Scenario:
        """Nothing else happens, and rows travel by small parts."""
        return replace(
            self._quick()._meshed(3),
            joining=0,
            tables=1,
            keys=20,
            prefilled_rows=0,
            value_bytes_max=20,
            write_interval_ms=40,
            fault_interval_ms=10_000,
            gossip_interval_ms=30,
            fanout=0,
            part_bytes=200,
            lists_members=False,
            tombstone_age_ms_min=1,
            retires=True,
        )

    def _of_the_forgotten(self) -> Scenario:
        """Rounds are rare, so that who was forgotten hears of it late."""
        return replace(
            self._quick()._meshed(4),
            joining=0,
            fault_interval_ms=60,
            gossip_interval_ms=300,
            frequent_faults=("crash", "forget"),
            lists_members=False,
        )

    def _of_twins(self) -> Scenario:
        """Nothing is collected, so that no copy is too old to join again; no disk is lost but that of the twin, in the
        end."""
        return replace(
            self._meshed(3),
            joining=0,
            write_interval_ms=20,
            fault_interval_ms=120,
            lists_members=False,
            tombstone_age_ms_min=10**9,
            twins=1,
        )

    @classmethod
    def mixed(cls, rng: random.Random) -> Scenario:
        """A scenario without an emphasis."""
        prefilled = rng.choice((0, 30, 80, 160, 160))
        return cls(
            members=rng.choice((2, 3, 3, 4)),
            is_chain=rng.random() < 0.4,
            joining=rng.choice((0, 1, 1)),
            tables=rng.choice((1, 2)),
            keys=rng.choice((3, 3, 8, 20)),
            prefilled_rows=prefilled,
            value_bytes_max=rng.choice((0, 20, 100)),
            write_interval_ms=rng.choice((15, 40, 80)),
            fault_interval_ms=rng.choice((60, 120, 200)),
            gossip_interval_ms=rng.choice((80, 150, 300)),
            audit_interval_ms=rng.choice((400, 1_500, 60_000)),
            clock_skew_ms_max=rng.choice((300, 600)),
            fanout=rng.choice((0, 0, 1, 2)),
            part_bytes=rng.choice((60, 200, 200, 800, 512 * 1024)) if prefilled < 160 else rng.choice((200, 400)),
            whole_row_bytes_max=rng.choice((120, 250, WHOLE_ROW_BYTES_MAX, WHOLE_ROW_BYTES_MAX)),
            commit_ms_max=rng.choice((2, 10, 30)),
            frequent_faults=(),
            rates=FaultRates(
                drop=rng.choice((0.0, 0.02, 0.15)),
                duplicate=rng.choice((0.0, 0.05, 0.2)),
                delay=rng.choice((0.1, 0.3)),
                reorder=rng.choice((0.0, 0.1)),
                delay_ms_min=1,
                delay_ms_max=rng.choice((20, 60)),
            ),
            lists_members=rng.random() < 0.4,
            tombstone_age_ms_min=rng.choice((1, 100, 600)),
        )
