"""Two processes that run under one member's name: noticed, named, and said again when that ends.

Each process draws a random token when it starts, and names itself in each envelope: token, incarnation at its start,
replica id, endpoint. The incarnation at the start does not grow with refutations, so it tells which process is older.

- *Twins* run on copies of one volume and have one replica id. They would give out the same dots. The younger one takes
  a new replica id: it alone knows what it has written since the copy was made, namely since its start.
- *Namesakes* have a directory each. Neither loses anything, but others reach now the one and now the other.

That another process is heard than before says nothing: members start again. The evidence is that *a process speaks
again after another one has spoken*, and does so now: it answers an exchange that was begun after the other had been
heard, or it begins one so long after that no message from before can still be under way. Of one's own name every other
process that answers is evidence, and so is each that started later.

A sighting ends when there has been no evidence for some time. The log is told when it begins and when it ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from gossipkv.core.causality import ReplicaId
from gossipkv.core.effects import Notice
from gossipkv.core.options import ReplicaOptions

QUIET_INTERVALS = 60
"""Gossip intervals without evidence after which a sighting ends."""

FORMER_MAX = 4
"""Processes remembered of a member that speak no more, or not just now."""

PROCESSES_MAX = 1_000
"""Members of which the processes are remembered; no cluster is that large, and names come from anywhere."""


class Process(NamedTuple):
    """A process as it names itself. Greater is younger."""

    started: int
    """The incarnation at its start."""
    token: int
    """Random; 0 where it is not known."""
    replica: ReplicaId
    endpoint: str
    """Where others reach it."""
    born: ReplicaId
    """The replica id at its start, which it may have given up since."""

    @property
    def age(self) -> tuple[int, int]:
        return self.started, self.token

    def __str__(self) -> str:
        return f"replica {self.replica:016x} at {self.endpoint or 'an unknown endpoint'}"


@dataclass(slots=True)
class Sighting:
    """Two processes that run as one member."""

    older: Process
    younger: Process
    are_twins: bool
    """They started with one replica id."""
    since_ms: int
    """Wall clock."""
    heard_ms: int
    """When there was last evidence, in time that this member has spent running."""

    def remedy(self, member: str) -> str:
        what = "on copies of one volume" if self.are_twins else "with a directory each"
        return (
            f"two processes run as member {member}, {what}: {self.older}, {self.younger}; "
            "stop one, or give it another name and an empty directory"
        )


@dataclass(slots=True)
class Speaker:
    """The process of a member that spoke last, and those before it."""

    process: Process
    exchange: int
    """The last exchange begun here before it was first heard, after the one before it."""
    heard_ms: int
    """When that was, in time that this member has spent running."""
    former: dict[int, Process]
    """By token, a few."""


class Namesakes:
    """What one member knows of the processes of all."""

    def __init__(self, options: ReplicaOptions, own: Process, now_ms: int) -> None:
        self.own = own
        self.sightings: dict[str, Sighting] = {}
        """By member."""
        self._member = options.member
        self._message_life_ms = options.message_life_ms
        self._step_ms_max = max(1_000, options.gossip_interval_ms)
        self._quiet_ms = QUIET_INTERVALS * options.gossip_interval_ms
        self._now_ms = now_ms
        self._time_ms = 0
        self._speakers: dict[str, Speaker] = {}
        self._notices: list[Notice] = []
        self._told: list[Notice] = []

    def advance(self, now_ms: int) -> None:
        """Let time pass, and end what has not been seen for long."""
        self._time_ms += max(0, min(now_ms - self._now_ms, self._step_ms_max))
        self._now_ms = now_ms
        for member, sighting in list(self.sightings.items()):
            if self._time_ms - sighting.heard_ms > self._quiet_ms:
                del self.sightings[member]
                self._note("member_runs_once_again", member, {})

    def asked(self, member: str, process: Process, last_exchange: int) -> None:
        """A process has begun an exchange with this one; the message may have been under way for as long as any is."""
        self._heard(member, process, last_exchange, answers=None)

    def answered(self, member: str, process: Process, exchange: int, last_exchange: int) -> None:
        """A process has answered the exchange that was begun here under this number."""
        self._heard(member, process, last_exchange, answers=exchange)

    def read(self, process: Process) -> None:
        """A record under this member's own name tells of a process that has started later."""
        if process.token and process.age > self.own.age:
            self._see(self._member, self.own, process)

    def outdone(self, process: Process) -> None:
        """A process has written its record over this one's, again."""
        if process.token not in (0, self.own.token):
            self._see(self._member, *sorted((self.own, process)))

    def run_as(self, member: str) -> bool:
        """Whether two processes run under the member's name."""
        return member in self.sightings

    def is_twin(self, process: Process) -> bool:
        """Whether it is another process with this one's replica id."""
        return process.replica == self.own.replica and process.token not in (0, self.own.token)

    def be_renewed(self, replica: ReplicaId) -> None:
        self.own = self.own._replace(replica=replica)

    def _heard(self, member: str, process: Process, last_exchange: int, answers: int | None) -> None:
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
        """Whether a message was sent after the last speaker had been heard."""
        if answers is not None:
            return answers > speaker.exchange
        return self._time_ms - speaker.heard_ms > self._message_life_ms

    def _change(self, member: str, speaker: Speaker, process: Process, last_exchange: int, *, speaks_now: bool) -> None:
        """Another process speaks than the last time. One that is younger, and unknown, has taken its place."""
        if not speaks_now and (process.token in speaker.former or process.age < speaker.process.age):
            return
        former = {**speaker.former, speaker.process.token: speaker.process}
        if former.pop(process.token, None) is not None:
            self._see(member, *sorted((speaker.process, process)))
        for token in list(former)[:-FORMER_MAX]:
            del former[token]
        self._speakers[member] = Speaker(process, last_exchange, self._time_ms, former)

    def _see(self, member: str, older: Process, younger: Process) -> None:
        sighting = self.sightings.get(member)
        if sighting is not None:
            sighting.older, sighting.younger, sighting.heard_ms = older, younger, self._time_ms
            return
        sighting = Sighting(older, younger, older.born == younger.born, self._now_ms, self._time_ms)
        self.sightings[member] = sighting
        self._note("member_runs_twice", member, {"reason": sighting.remedy(member)})

    # What the log is told

    def _note(self, event: str, member: str, fields: dict[str, object]) -> None:
        self._notices.append(Notice(event, {"peer": member, **fields}, is_warning=event == "member_runs_twice"))

    def take_notices(self) -> list[Notice]:
        self._told, self._notices = self._notices, []
        return self._told

    def forget_batch(self) -> None:
        """The batch under way was not committed: what was concluded stands, so the word on it does too."""
        self._notices, self._told = self._told + self._notices, []
