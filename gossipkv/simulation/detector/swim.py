"""The failure detector alone, in virtual time: its detection time and its false positives.

Each member's ticks have their own phase. Frames take 1 to 20 ms and are lost independently at the given rate, so a
round trip is lost more often than a frame. A paused member does nothing. Frames that arrive during the pause wait for
it, and the exchanges that it began time out.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Set
from dataclasses import dataclass, field, replace

from gossipkv.core.membership.probe import ProbeRequest
from gossipkv.core.membership.suspicion import confirmations_needed, shortest_ms
from gossipkv.core.membership.swim import Swim
from gossipkv.core.model.member import DEAD, SUSPECT
from gossipkv.core.model.tally import Tally
from gossipkv.core.options import ReplicaOptions
from gossipkv.simulation.world.timeline import Timeline

TICK_MS = 200
LATENCY_MS_MAX = 20
CALM_MS = 60_000


@dataclass(frozen=True, slots=True)
class Course:
    """The events of a run, after one minute without faults."""

    members: int
    duration_ms: int = 120_000
    loss: float = 0.0
    crashes: int = 0
    """The number of members that crash at the same time: the first by name."""
    paused: int = 0
    """The number of members that are paused repeatedly: the last by name."""
    pause_ms: int = 20_000
    gap_ms: int = 1_000
    """The time for which a paused member runs between two pauses."""


@dataclass(slots=True)
class Findings:
    """The results of a run. A member is healthy if it neither crashed nor was paused."""

    first_dead_ms: list[int] = field(default_factory=list)
    """The times from the crash until the first other member holds the crashed one to be dead, one per crash."""
    all_dead_ms: list[int] = field(default_factory=list)
    """The times from the crash until all other members do."""
    suspicions: int = 0
    """The number of suspicions of healthy members, summed over all members, including those heard from others."""
    false_deaths: int = 0
    """The number of times that a member declared a healthy one dead, including deaths heard from others."""
    at_healthy: int = 0
    """The part of these deaths that healthy members declared."""
    dead_most: int = 0
    """The maximum number of healthy members that one member held to be dead at the same time."""
    probes: int = 0
    """The number of probes that ended while the faults lasted."""
    probes_failed: int = 0
    """The part of these probes that failed, directly and through others."""
    dead_in_the_end: int = 0
    """The number of running members that another one still held to be dead two minutes after the faults."""


def detection_bound_ms(members: int, options: ReplicaOptions) -> int:
    """Return a bound on the time until all members know of a crash, if no frame is lost.

    The bound is a sum. A probe fails within 6 periods (in a small cluster: two rounds over the others). If
    confirmations are needed, others confirm the suspicion in the same time. Then come the shortest suspicion, and
    log2(n) periods to spread the rumour.
    """
    period_ms, multiplier = options.protocol_period_ms, options.suspicion_multiplier
    probed_ms = min(2 * (members - 1), 6) * period_ms
    confirmed_ms = probed_ms if confirmations_needed(multiplier, members) else 0
    return probed_ms + confirmed_ms + shortest_ms(multiplier, members, period_ms) + members.bit_length() * period_ms


def first_detection_ms(members: int, options: ReplicaOptions) -> int:
    """Return the time until the first member detects a crash, as SWIM expects it.

    Some member probes the crashed one within e / (e - 1) periods, independent of the size, and the suspicion then times
    out. Source: Das, Gupta, Motivala, 2002, sections 3.1 and 4.2.
    """
    period_ms = options.protocol_period_ms
    return round(math.e / (math.e - 1) * period_ms) + shortest_ms(options.suspicion_multiplier, members, period_ms)


def failed_probe_share(members: int, loss: float, options: ReplicaOptions) -> float:
    """Return the share of failed probes of healthy members, as SWIM expects it: (1 - q^2) * (1 - q^4)^k.

    Here q is the share of frames that arrive. A ping has one ack, and each of k indirect probes has two pings and two
    acks. Source: Gupta, Chandra, Goldszmidt, "On Scalable and Efficient Distributed Failure Detectors", 2001, which
    SWIM builds on.
    """
    arriving, helpers = 1 - loss, min(options.indirect_probes, members - 2)
    return (1 - arriving**2) * (1 - arriving**4) ** helpers


class _Machine:
    def __init__(self, arena: Arena, name: str, options: ReplicaOptions, seed: int) -> None:
        self.name = name
        self.tally = Tally()
        self.swim = Swim(options, random.Random(seed), self.tally, 0)
        self.is_up = True
        self.is_paused = False
        self.waiting: list[Callable[[], None]] = []
        self._arena = arena

    def tick(self) -> None:
        if self.is_up:
            if not self.is_paused:
                self.take(self.swim.tick)
            self._arena.timeline.after(TICK_MS, self.tick)

    def take(self, happened: Callable[[], None]) -> None:
        """Run an action at this member, now or when its pause is over."""
        if not self.is_up:
            return
        if self.is_paused:
            self.waiting.append(happened)
            return
        self.swim.advance(self._arena.timeline.now_ms)
        happened()
        requests, self.swim.requests = self.swim.requests, []
        for request in requests:
            self._arena.send(self, request)

    def dead(self) -> list[str]:
        """Return the members that this one holds to be dead."""
        return [name for name, standing in self.swim.standings.items() if standing.status == DEAD]

    def resume(self) -> None:
        self.is_paused = False
        waiting, self.waiting = self.waiting, []
        for happened in waiting:
            self.take(happened)


class Arena:
    """The members of a run, and the network between them."""

    def __init__(self, course: Course, seed: int, options: ReplicaOptions | None = None) -> None:
        self.timeline = Timeline()
        self.course = course
        self.findings = Findings()
        self.options = options or ReplicaOptions()
        self._rng = random.Random(seed)
        self._loss = 0.0
        self.machines: dict[str, _Machine] = {}
        names = [f"m{number:03}" for number in range(course.members)]
        for name in names:
            own = replace(self.options, member=name)
            self.machines[name] = machine = _Machine(self, name, own, self._rng.getrandbits(64))
            machine.swim.begin_life(1)
            for other in names:
                if other != name:
                    machine.swim.learn(other, 1)
            self.timeline.after(self._rng.randint(0, TICK_MS), machine.tick)

    # The network

    def send(self, source: _Machine, request: ProbeRequest) -> None:
        """Send a request, and hand the answer or the failure to the source. An exchange fails after one protocol
        period."""
        target = self.machines[request.target]
        is_open = [True]

        def end(happened: Callable[[], None]) -> None:
            if is_open[0]:
                is_open[0] = False
                source.take(happened)

        def answer() -> None:
            found = target.swim.receive(source.name, request.message)
            acks = [] if found is None else [found]
            self._carry(lambda: end(lambda: source.swim.answered(request, target.name, acks)))

        self._carry(lambda: target.take(answer))
        timeout_ms = source.swim.options.protocol_period_ms
        self.timeline.after(timeout_ms, lambda: end(lambda: source.swim.failed(request)))

    def _carry(self, arrive: Callable[[], None]) -> None:
        if self._rng.random() >= self._loss:
            self.timeline.after(self._rng.randint(1, LATENCY_MS_MAX), arrive)

    # The course of events

    def run(self) -> Findings:
        """Run the course, and return what was found."""
        course, machines = self.course, list(self.machines.values())
        self._run_for(CALM_MS)
        crashed = {machine.name: machine for machine in machines[: course.crashes]}
        paused = {machine.name: machine for machine in machines[len(machines) - course.paused :]}
        self._loss = course.loss
        for machine in crashed.values():
            machine.is_up = False
        for machine in paused.values():
            self._pause_again(machine, CALM_MS + course.duration_ms)
        healthy = self.machines.keys() - crashed.keys() - paused.keys()
        probes_before = self._probes()
        while self.timeline.now_ms < CALM_MS + course.duration_ms:
            self._run_for(TICK_MS)
            self._count(healthy)
            self._look_for(sorted(crashed))
        ended, failed = self._probes()
        self.findings.probes, self.findings.probes_failed = ended - probes_before[0], failed - probes_before[1]
        self._loss = 0.0
        self._run_for(2 * CALM_MS + course.pause_ms)
        running = {machine.name for machine in machines if machine.is_up}
        held_dead = {name for machine in machines if machine.is_up for name in machine.dead() if name in running}
        self.findings.dead_in_the_end = len(held_dead)
        return self.findings

    def _probes(self) -> tuple[int, int]:
        """Return the numbers of probes that have ended, and that have failed, so far."""
        tallies = [machine.tally.probes for machine in self.machines.values()]
        return sum(probes.total() for probes in tallies), sum(probes["failed"] for probes in tallies)

    def _run_for(self, duration_ms: int) -> None:
        self.timeline.run_until(self.timeline.now_ms + duration_ms)

    def _pause_again(self, machine: _Machine, until_ms: int) -> None:
        machine.is_paused = True

        def resume() -> None:
            machine.resume()
            if self.timeline.now_ms + self.course.gap_ms < until_ms:
                self.timeline.after(self.course.gap_ms, lambda: self._pause_again(machine, until_ms))

        self.timeline.after(self.course.pause_ms, resume)

    def _count(self, healthy: Set[str]) -> None:
        for machine in self.machines.values():
            notices = machine.swim.outbox.take()
            if not notices:
                continue
            for notice in notices:
                if notice.fields["peer"] in healthy:
                    self.findings.suspicions += notice.event == f"member_{SUSPECT}"
                    self.findings.false_deaths += notice.event == f"member_{DEAD}"
                    self.findings.at_healthy += notice.event == f"member_{DEAD}" and machine.name in healthy
            dead = sum(name in healthy for name in machine.dead())
            self.findings.dead_most = max(self.findings.dead_most, dead)

    def _look_for(self, crashed: list[str]) -> None:
        """Record when the first and the last member have detected these crashes."""
        running = [machine for machine in self.machines.values() if machine.is_up]
        for place, name in enumerate(crashed):
            holders = sum(machine.swim.standings[name].status == DEAD for machine in running)
            passed_ms = self.timeline.now_ms - CALM_MS
            if holders and len(self.findings.first_dead_ms) == place:
                self.findings.first_dead_ms.append(passed_ms)
            if holders == len(running) and len(self.findings.all_dead_ms) == place:
                self.findings.all_dead_ms.append(passed_ms)
