"""What a member knows of one other member: its name, its address, and whether it is alive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from gossipkv.core.membership.health import MemberHealth
from gossipkv.core.model.causality import Dot, ReplicaId
from gossipkv.core.model.member import ALIVE, LEFT, SUSPECT, MemberRecord
from gossipkv.core.model.room import Room
from gossipkv.core.transfer.conversation import Conversation


@dataclass(slots=True)
class Peer:
    """A member other than this one. Until it has answered, only its endpoint is known."""

    endpoint: str
    """Where it is dialled. Empty: no host of it may be dialled."""
    member: str | None = None
    """Its name; None until it is known."""
    record: MemberRecord | None = None
    record_dot: Dot | None = None
    """The write that the record came with."""
    standing: MemberHealth = field(default_factory=MemberHealth)
    """Its status according to the failure detector; a contact counts as alive."""
    replica: ReplicaId | None = None
    """The replica id of the data that the conversation is about."""
    incarnation: int = 0
    """The greatest incarnation heard of. It decides between two replica ids under one name."""
    last_heard: int = 0
    """The number of the last exchange begun here before this replica was last heard."""
    exchange: int | None = None
    """The exchange of gossip under way with it, at most one; None if there is none."""
    failures: int = 0
    """Number of failed exchanges since the last successful one."""
    retry_at_ms: int = 0
    """The wall clock before which no exchange with it begins."""
    has_answered: bool = False
    """Whether it has answered since the process began."""
    is_told_unreached: bool = False
    """Whether the log says that it is not reached, and not yet that this has ended. Its failures are forgotten when it
    moves or starts again; what the log says is not."""
    is_unvouched: bool = False
    """Whether its record names a host that discovery has not found, so that it is not dialled there."""
    is_let_go: bool = False
    """Whether it is known to exist no longer, despite its record. Then no exchange with it begins."""

    is_ready: bool = False
    """Whether it last reported that it has been brought up to date since it started."""
    is_informed: bool = False
    """Whether it last reported that it knows the settings of tables from others."""
    clock_ahead_ms: int = 0
    """How far its wall clock was ahead of this one's when it was last heard; travel time makes it less."""
    room: Room = Room.AMPLE
    """The room that it last reported."""

    conversation: Conversation = field(default_factory=Conversation)

    @property
    def status(self) -> str:
        """Its status for others: `left` once it has been let go, otherwise as the failure detector says."""
        return LEFT if self.is_let_go else self.standing.status

    @property
    def zone(self) -> str | None:
        """The zone in its record; None if it has none."""
        return self.record.zone if self.record is not None else None

    @property
    def is_living(self) -> bool:
        """Whether it counts as alive. A suspect does until its suspicion times out, because most suspicions are
        refuted."""
        return self.status in (ALIVE, SUSPECT)

    @property
    def is_answering(self) -> bool:
        """Whether it is alive and its last exchange succeeded."""
        return self.has_answered and self.failures == 0 and self.is_living

    def is_idle(self, now_ms: int) -> bool:
        """Return whether an exchange with it may begin."""
        return bool(self.endpoint) and not self.is_let_go and self.exchange is None and now_ms >= self.retry_at_ms

    def takes_values(self, now_ms: int) -> bool:
        """Return whether to send it rows with values: it has reported room, and has not refused any recently."""
        return self.room < Room.SPENT and not self.conversation.pushes.is_waiting(now_ms)

    def learn_room(self, room: Room) -> None:
        """Note the room that it reports. A single input that did not fit means nothing for others."""
        if room is not Room.NONE:
            self.room = room

    def clock_set_back(self, by_ms: int) -> None:
        """Shorten the pauses by the step that the clock was set back."""
        self.retry_at_ms -= by_ms
        self.conversation.clock_set_back(by_ms)

    def become_replica(self, replica: ReplicaId, incarnation: int) -> None:
        """Note that the peer runs as this incarnation. If it now has other data, under another replica id, drop what
        was known of the old data. An older incarnation changes nothing."""
        if incarnation < self.incarnation:
            return
        self.incarnation = incarnation
        if replica == self.replica:
            return
        self.replica = replica
        self.room = Room.AMPLE
        self.conversation.begin_again()


MayExchange = Callable[[Peer | None, str], bool]
"""Whether rows of a shard may be sent to a peer, and accepted from it."""
