"""Detects two processes that run under one member's name.

Each process draws a random token when it starts, and identifies itself in each envelope: token, incarnation at its
start, replica id, endpoint. The incarnation at the start does not grow with refutations, so it shows which process is
older.

- *Twins* run on copies of one volume and share a replica id. They would give out the same dots. The younger one takes a
  new replica id: only the younger one knows what it has written since the copy was made, namely since its start.
- *Namesakes* have a directory each. Neither loses data, but others reach sometimes one and sometimes the other.

A message from another process than before is no evidence, because members restart. The evidence is that *a process is
heard again after another process has been heard*, in a recent message. A message is recent if it answers an exchange
begun after the other process was heard. It is also recent if it begins an exchange so late that no older message can
still be under way. For this member's own name, any other process that answers is evidence, and so is any that started
later.

A sighting ends when there has been no evidence for some time. Its beginning and its end are logged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from gossipkv.core.model.causality import ReplicaId
from gossipkv.core.model.outbox import Outbox
from gossipkv.core.model.tally import Notice
from gossipkv.core.options import ReplicaOptions

QUIET_INTERVALS = 60
"""The number of gossip intervals without evidence after which a sighting ends."""

FORMER_MAX = 4
"""Maximum number of earlier processes remembered per member."""

PROCESSES_MAX = 1_000
"""Maximum number of members whose processes are remembered. A bound, because names come from the network."""


class ProcessIdentity(NamedTuple):
    """A process as it identifies itself. A greater one is younger."""

    started: int
    """The incarnation at its start."""
    token: int
    """A random number; 0 if it is not known."""
    replica: ReplicaId
    endpoint: str
    """The address at which others reach it."""
    born: ReplicaId
    """The replica id at its start, which it may have given up since."""

    @property
    def age(self) -> tuple[int, int]:
        """The order of processes by their start; a later one is greater."""
        return self.started, self.token

    def __str__(self) -> str:
        return f"replica {self.replica:016x} at {self.endpoint or 'an unknown endpoint'}"


@dataclass(slots=True)
class Sighting:
    """Two processes that run as one member."""

    older: ProcessIdentity
    younger: ProcessIdentity
    are_twins: bool
    """Whether both started with the same replica id."""
    since_ms: int
    """The wall clock when it was first seen."""
    heard_ms: int
    """The time of the last evidence, as time that this member has spent running."""

    def remedy(self, member: str) -> str:
        """Return a sentence that names both processes and says what to do."""
        what = "on copies of one volume" if self.are_twins else "with a directory each"
        return (
            f"two processes run as member {member}, {what}: {self.older}, {self.younger}; "
            "stop one, or give it another name and an empty directory"
        )


@dataclass(slots=True)
class Speaker:
    """The process of a member that was heard last, and those heard before it."""

    process: ProcessIdentity
    exchange: int
    """The last exchange begun here before this process was first heard, after the process before it."""
    heard_ms: int
    """The time when that was, as time that this member has spent running."""
    former: dict[int, ProcessIdentity]
    """A few earlier processes, by token."""


class Namesakes:
    """What one member knows of the processes of all members."""

    def __init__(self, options: ReplicaOptions, own: ProcessIdentity, outbox: Outbox, now_ms: int) -> None:
        self.own = own
        self.sightings: dict[str, Sighting] = {}
        """The present sightings, by member."""
        self._member = options.member
        self._message_life_ms = options.message_life_ms
        self._step_ms_max = max(1_000, options.gossip_interval_ms)
        self._quiet_ms = QUIET_INTERVALS * options.gossip_interval_ms
        self._now_ms = now_ms
        self._time_ms = 0
        self._speakers: dict[str, Speaker] = {}
        self.outbox = outbox

    def advance(self, now_ms: int) -> None:
        """Advance the time, and end sightings without recent evidence."""
        self._time_ms += max(0, min(now_ms - self._now_ms, self._step_ms_max))
        self._now_ms = now_ms
        for member, sighting in list(self.sightings.items()):
            if self._time_ms - sighting.heard_ms > self._quiet_ms:
                del self.sightings[member]
                self._note("member_runs_once_again", member, {})

    def asked(self, member: str, process: ProcessIdentity, last_exchange: int) -> None:
        """Note that a process has begun an exchange with this member. The message may be as old as
        `message_life_ms`."""
        self._heard(member, process, last_exchange, answers=None)

    def answered(self, member: str, process: ProcessIdentity, exchange: int, last_exchange: int) -> None:
        """Note that a process has answered the exchange that was begun here with this number."""
        self._heard(member, process, last_exchange, answers=exchange)

    def read(self, process: ProcessIdentity) -> None:
        """Note the process in a record under this member's own name. It is evidence if it started later."""
        if process.token and process.age > self.own.age:
            self._see(self._member, self.own, process)

    def outdone(self, process: ProcessIdentity) -> None:
        """Note that a process has overwritten this member's record again."""
        if process.token not in (0, self.own.token):
            self._see(self._member, *sorted((self.own, process)))

    def run_as(self, member: str) -> bool:
        """Return whether two processes run under the member's name."""
        return member in self.sightings

    def is_twin(self, process: ProcessIdentity) -> bool:
        """Return whether this is another process with this one's replica id."""
        return process.replica == self.own.replica and process.token not in (0, self.own.token)

    def be_renewed(self, replica: ReplicaId) -> None:
        """Identify as this replica from now on."""
        self.own = self.own._replace(replica=replica)

    def _heard(self, member: str, process: ProcessIdentity, last_exchange: int, answers: int | None) -> None:
        if not process.token:
            return
        if member == self._member:
            if process.token != self.own.token and (
                answers is not None or process.age > self.own.age or self._time_ms > self._message_life_ms
            ):
                self._see(member, *sorted((self.own, process)))
            return
        speaker = self._speakers.get(member)
        if speaker is None:
            if len(self._speakers) < PROCESSES_MAX:
                self._speakers[member] = Speaker(process, last_exchange, self._time_ms, {})
        elif process.token == speaker.process.token:
            speaker.process = process
        else:
            self._change(member, speaker, process, last_exchange, speaks_now=self._speaks_now(speaker, answers))

    def _speaks_now(self, speaker: Speaker, answers: int | None) -> bool:
        """Return whether a message was sent after the current process had last been heard."""
        if answers is not None:
            return answers > speaker.exchange
        return self._time_ms - speaker.heard_ms > self._message_life_ms

    def _change(
        self, member: str, speaker: Speaker, process: ProcessIdentity, last_exchange: int, *, speaks_now: bool
    ) -> None:
        """Note that another process is heard than last time. If it is younger and unknown, it has replaced the last
        one."""
        if not speaks_now and (process.token in speaker.former or process.age < speaker.process.age):
            return
        former = {**speaker.former, speaker.process.token: speaker.process}
        if former.pop(process.token, None) is not None:
            self._see(member, *sorted((speaker.process, process)))
        for token in list(former)[:-FORMER_MAX]:
            del former[token]
        self._speakers[member] = Speaker(process, last_exchange, self._time_ms, former)

    def _see(self, member: str, older: ProcessIdentity, younger: ProcessIdentity) -> None:
        sighting = self.sightings.get(member)
        if sighting is not None:
            sighting.older, sighting.younger, sighting.heard_ms = older, younger, self._time_ms
            return
        sighting = Sighting(older, younger, older.born == younger.born, self._now_ms, self._time_ms)
        self.sightings[member] = sighting
        self._note("member_runs_twice", member, {"reason": sighting.remedy(member)})

    # Notices for the log

    def _note(self, event: str, member: str, fields: dict[str, object]) -> None:
        is_warning = event == "member_runs_twice"
        self.outbox.say_lasting(Notice(event, {"peer": member, **fields}, is_warning=is_warning))
