"""SWIM with the corrections of Lifeguard: decides which members are alive. Members are known by name.

Das, Gupta, Motivala, "SWIM: Scalable Weakly-consistent Infection-style Process Group Membership Protocol", 2002;
Dadgar, Phillips, Currey, "Lifeguard: Local Health Awareness for More Accurate Failure Detection", 2018.

*Probes*

- In every protocol period one member is probed, in shuffled round-robin order. It is pinged directly. If it does not
  answer in time, some other members are asked to ping it.
- A member that has answered an exchange begun here within the period needs no probe, unless there are rumours to send.
- A dead member is pinged now and then.

*Suspicion*

- A member that cannot be reached is suspect, and dead once the suspicion times out. It refutes a suspicion by raising
  its refutation count.
- Every message to a member that is held to be suspect or dead says so. So that member learns of it first.
- First-hand evidence counts only at the member that has it. A suspect that answers is alive here, and is told of the
  suspicion. Others are convinced only by the suspect's own refutation.
- A suspicion or death may also be reported to its subject outside of probes, at most once per member and protocol
  period. Without this limit, two members that suspect each other would keep each other busy.

*Rumours*

- Rumours are piggybacked on pings and acks, each a bounded number of times (`core/protocol/rumours.py`).
- A rumour about a start further ahead than `clock_skew_ms_max` is refused, as such rows are: no later start could
  override it. It is counted, and logged once per member.

*Leaving*

- A member that left is not probed. It stays left until it starts again.
- A member that has not left refutes a rumour that it has. Within one start, `left` overrides everything, so the
  refutation is made under a later start.
- Until the record of a member says that it left, the member is pinged at once and then now and then. So it learns of a
  false rumour.

*Time and local health*

- Failed probes (unless a helper failed), refutations, and a late wake-up make a member judge more slowly. Each
  successful probe makes it judge faster again.
- Time is the sum of the steps between inputs, each capped at a protocol period. So no suspicion times out while this
  member is paused or its clock jumps.
- A member that wakes up late drops the probe under way. It declares no other member dead until it has heard from one,
  or has tried for as long as a suspicion lasts.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from gossipkv.core.membership.health import MemberHealth
from gossipkv.core.membership.probe import Probe, ProbeRequest
from gossipkv.core.membership.suspicion import Suspicion, confirmations_needed, shortest_ms
from gossipkv.core.model.member import ALIVE, DEAD, INCARNATION_AHEAD, INCARNATION_END, LEFT, SUSPECT
from gossipkv.core.model.outbox import Outbox
from gossipkv.core.model.tally import Notice, Tally
from gossipkv.core.options import ReplicaOptions
from gossipkv.core.protocol.messages import Ack, Ping, PingRequest
from gossipkv.core.protocol.rumours import UNBORN, Life, Rumour, Rumours, rank

UNHEARD_MIN = 8
"""The number of members not heard yet that one turn may probe. If more members have been heard, their number
applies."""

HEALTH_MAX = 8
"""The worst local health: timeouts are then nine times as long. S of the Lifeguard paper."""

KNOCK_PERIODS = 5
"""The number of protocol periods between pings of a dead member."""


@dataclass(slots=True)
class Swim:
    """The failure detector of one member. Times given are wall clocks in milliseconds."""

    options: ReplicaOptions
    rng: random.Random
    tally: Tally
    now_ms: int
    life: Life = UNBORN
    """The life of this member."""
    has_left: bool = False
    health: int = 0
    """The local health: 0 at best, HEALTH_MAX at worst."""
    standings: dict[str, MemberHealth] = field(default_factory=dict)
    outbox: Outbox = field(default_factory=Outbox)
    requests: list[ProbeRequest] = field(default_factory=list)
    """Requests to send; the caller takes them."""
    _told_ahead: set[str] = field(default_factory=set)
    """Members about which a rumour ahead of the clock has been logged."""
    _time_ms: int = 0
    """The failure detector's own time, which passes only while this member runs."""
    _rumours: Rumours = field(default_factory=Rumours)
    _order: list[str] = field(default_factory=list)
    _probe: Probe | None = None
    _probes: int = 0
    _next_probe_ms: int = 0
    _no_verdicts_until_ms: int = 0
    """The time before which no member is declared dead, after a late wake-up."""
    _live: int = 1
    """The number of members that count as alive, this one included."""

    # Input from membership and discovery

    def begin_life(self, start: int) -> None:
        """Start as this incarnation, unless the present one is greater."""
        self.life = max(self.life, Life(start, 0))

    def step_back(self, start: int) -> None:
        """Continue as this incarnation although the present one is greater: others refuse that one."""
        self.life = Life(start, 0)

    def is_ahead(self, start: int) -> bool:
        """Return whether an incarnation is further ahead of the clock than is allowed."""
        return start > self.now_ms + self.options.clock_skew_ms_max

    def learn(self, member: str, start: int, has_left: bool = False) -> MemberHealth:
        """Learn of a member, of a later life of it, or that it has left in this life; return its standing. A start that
        is ahead of the clock counts as the latest one allowed: a later start must be able to override it."""
        start = min(start, self.now_ms + self.options.clock_skew_ms_max)
        standing = self.standings.get(member)
        if standing is None:
            standing = self.standings[member] = MemberHealth(life=Life(start, 0), since_ms=self.now_ms)
            self._order.insert(self.rng.randint(0, len(self._order)), member)
            if has_left:
                standing.status = LEFT
            standing.has_signed_off = has_left
            self._live += standing.is_living
            return standing
        status = LEFT if has_left else ALIVE
        if rank(status, Life(start, 0)) > rank(standing.status, standing.life):
            self._become(member, status, Life(start, 0))
        standing.has_signed_off |= has_left and standing.life.start == start
        return standing

    def replaced(self, member: str, start: int) -> None:
        """Note that a member answers as this life although a seemingly later life of it has left: its clock was set
        back, its disk lost. A member that is merely thought dead refutes that, and continues under the later life."""
        standing = self.standings.get(member)
        if standing is not None and standing.status == LEFT and standing.life.start > start:
            # Refutations of this life stay valid.
            former = standing.former if standing.former.start == start else Life(start, 0)
            standing.life, standing.former = former, standing.life
            self._mark_alive(standing)
            self._rumours.drop(member)

    def let_go(self, member: str) -> None:
        """Stop probing and judging a member that discovery no longer lists."""
        standing = self.standings[member]
        standing.is_probed = False
        self._rumours.drop(member)
        if standing.status == SUSPECT:
            self._mark_alive(standing)
        self._count()

    def take_back(self, member: str) -> None:
        """Probe and judge a member again that discovery lists again. Earlier conclusions no longer apply."""
        standing = self.standings[member]
        standing.is_probed = True
        if standing.status in (SUSPECT, DEAD):
            self._mark_alive(standing)
        self._count()

    def _mark_alive(self, standing: MemberHealth) -> None:
        standing.status, standing.since_ms, standing.suspicion = ALIVE, self.now_ms, None
        self._count()

    def silence_ms(self, member: str) -> int:
        """Return how long the member has not been heard, in time that this member has spent running."""
        standing = self.standings.get(member)
        heard_ms = standing.heard_ms if standing is not None else None
        return self._time_ms - (heard_ms or 0)

    def heard(self, member: str) -> None:
        """Note that the member has answered an exchange that was begun here."""
        self._no_verdicts_until_ms = 0
        standing = self.standings.get(member)
        if standing is None:
            return
        standing.heard_ms = self._time_ms
        if self._probe is not None and self._probe.target == member:
            self._succeed("heard")
        if standing.status in (SUSPECT, DEAD):
            accusation = self._accusation(member)
            self._become(member, ALIVE, standing.life)
            self._rumours.drop(member)
            self._tell(member, accusation)

    def leave(self, has_left: bool) -> None:
        """Note that this member leaves, or does not leave after all. If it leaves, some others are told at once,
        because there may be no further period."""
        if has_left == self.has_left:
            return
        self.has_left = has_left
        self._rumours.drop(self.options.member)
        if has_left:
            self._rumours.add(self._own_rumour())
            for member in self._some_live(self.options.indirect_probes, ""):
                self.requests.append(ProbeRequest(member, Ping(self._rumours_for(member))))

    # Time

    def tick(self) -> None:
        """End suspicions and probes that are due, and begin a probe. Call it several times per protocol period."""
        self._end_suspicions()
        probe = self._probe
        if probe is not None and not probe.is_acked and not probe.asked and self._time_ms >= probe.indirect_at_ms:
            self._ask_others(probe)
        if probe is not None and self._time_ms >= probe.ends_ms:
            self._end_probe(probe)
        if self._time_ms >= self._next_probe_ms and not self.has_left:
            self._begin_probe()

    def advance(self, now_ms: int) -> None:
        """Advance the time; call this before any other method."""
        passed_ms, self.now_ms = now_ms - self.now_ms, now_ms
        period_ms = self.options.protocol_period_ms
        self._time_ms += max(0, min(passed_ms, period_ms))
        if passed_ms > period_ms:
            self._wake_up_late()

    def _wake_up_late(self) -> None:
        self.health = min(HEALTH_MAX, self.health + 1)
        self._probe = None
        self._next_probe_ms = self._time_ms
        self._no_verdicts_until_ms = self._time_ms + self._shortest_suspicion_ms()
        self.tally.wakes_late += 1
        for standing in self.standings.values():
            if standing.suspicion is not None:
                standing.suspicion.began_ms = self._time_ms

    def _end_suspicions(self) -> None:
        if self._time_ms < self._no_verdicts_until_ms:
            return
        for member, standing in self.standings.items():
            if standing.suspicion is not None and self._time_ms >= standing.suspicion.ends_ms:
                self._become(member, DEAD, standing.life)
                self.tally.suspicions["dead"] += 1
                self._rumours.add(Rumour(member, DEAD, standing.life))

    # Probes

    def _begin_probe(self) -> None:
        period_ms = self.options.protocol_period_ms * (1 + self.health)
        self._next_probe_ms = self._time_ms + period_ms
        self._probes += 1
        if self._probes % KNOCK_PERIODS == 0:
            self._ping_dead()
        target = self._next_target()
        if target is None:
            return
        timeout_ms = self.options.probe_timeout_ms * (1 + self.health)
        self._probe = Probe(self._probes, target, self._time_ms + timeout_ms, self._next_probe_ms)
        self.requests.append(ProbeRequest(target, Ping(self._rumours_for(target)), self._probes))

    def _ping_dead(self) -> None:
        away = [
            member
            for member, standing in sorted(self.standings.items())
            if self._is(member, DEAD) or (self._is(member, LEFT) and not standing.has_signed_off)
        ]
        if away:
            member = self.rng.choice(away)
            self.requests.append(ProbeRequest(member, Ping(self._rumours_for(member))))

    def _next_target(self) -> str | None:
        """Return the next member to probe; None if none needs a probe."""
        for _ in range(len(self.standings)):
            if not self._order:
                self._order = self._next_order()
            member = self._order.pop()
            standing = self.standings[member]
            heard_ms = standing.heard_ms
            is_fresh = heard_ms is not None and self._time_ms - heard_ms < self.options.protocol_period_ms
            if standing.is_living and (not is_fresh or self._rumours or standing.status == SUSPECT):
                return member
        return None

    def _next_order(self) -> list[str]:
        """Return all members that have been heard, and at most as many that have not. Anyone can invent members: a
        thousand of them would leave no probes for the others."""
        heard = [member for member in sorted(self.standings) if self.standings[member].heard_ms is not None]
        unheard = [member for member in sorted(self.standings) if self.standings[member].heard_ms is None]
        order = heard + self.rng.sample(unheard, min(len(unheard), max(UNHEARD_MIN, len(heard))))
        self.rng.shuffle(order)
        return order

    def _ask_others(self, probe: Probe) -> None:
        helpers = self._some_live(self.options.indirect_probes, probe.target)
        probe.asked = len(helpers)
        for helper in helpers:
            self.requests.append(
                ProbeRequest(helper, PingRequest(probe.target, self._rumours_for(helper)), probe.number)
            )

    def _some_live(self, count: int, other_than: str) -> list[str]:
        live = [member for member in sorted(self.standings) if self._is(member, ALIVE) and member != other_than]
        heard = [member for member in live if self.standings[member].heard_ms is not None]
        return self.rng.sample(heard or live, min(count, len(heard or live)))

    def _succeed(self, how: str) -> None:
        probe = self._probe
        if probe is not None and not probe.is_acked:
            probe.is_acked = True
            self.health = max(0, self.health - 1)
            self.tally.probes[how] += 1

    def _end_probe(self, probe: Probe) -> None:
        self._probe = None
        if probe.is_acked:
            return
        self.tally.probes["failed"] += 1
        blame = probe.asked - probe.answers if probe.asked else 1
        self.health = min(HEALTH_MAX, self.health + blame)
        if self.standings[probe.target].is_living:
            self._suspect(probe.target)

    def _suspect(self, member: str) -> None:
        standing = self.standings[member]
        word = Rumour(member, SUSPECT, standing.life, self.options.member)
        if standing.suspicion is None:
            self.tally.suspicions["begun"] += 1
            self._become(member, SUSPECT, standing.life)
        if standing.suspicion is not None and standing.suspicion.confirm(word.accuser):
            self._rumours.add(word)

    # Messages

    def receive(self, sender: str, message: Ping | PingRequest | Ack) -> Ack | None:
        """Return the answer to a ping or ping request of another member; None for an ack."""
        self._no_verdicts_until_ms = 0
        is_accused = self._absorb(message.rumours)
        if isinstance(message, Ack):
            if self._probe is not None and self._probe.target == message.member:
                self._succeed("indirect")
            return None
        if isinstance(message, PingRequest) and self._exists(message.member):
            ping = Ping(self._rumours_for(message.member))
            self.requests.append(ProbeRequest(message.member, ping, on_behalf_of=sender))
        return Ack(self.options.member, self._rumours_for(sender, is_accused))

    def answered(self, request: ProbeRequest, sender: str, answers: list[Ack]) -> None:
        """Take the answer to a request. `sender` is the member that now has the address."""
        for ack in answers:
            if self._absorb(ack.rumours):
                self._tell(sender, (self._own_rumour(),))
        if sender != request.target:
            return
        if self._probe is not None and request.probe == self._probe.number:
            if isinstance(request.message, Ping):
                self._succeed("direct")
            else:
                self._probe.answers += 1
        self.heard(sender)
        if request.on_behalf_of:
            word = Ack(request.target, self._rumours_for(request.on_behalf_of))
            self.requests.append(ProbeRequest(request.on_behalf_of, word))

    def failed(self, request: ProbeRequest) -> None:
        """Ask others at once if a direct ping of the probe under way has failed, without waiting for its timeout."""
        probe = self._probe
        is_own = probe is not None and request.probe == probe.number and isinstance(request.message, Ping)
        if probe is not None and is_own and not probe.is_acked and not probe.asked:
            self._ask_others(probe)

    def forget(self, request: ProbeRequest) -> None:
        """Drop a request that was not sent or whose result is lost. Nothing is concluded from the probe."""
        if self._probe is not None and request.probe == self._probe.number:
            self._probe = None

    def forget_batch(self) -> None:
        """Drop the requests of a batch that was not committed."""
        self.requests.clear()

    def _rumours_for(self, member: str, has_accused: bool = False) -> tuple[Rumour, ...]:
        """Return the rumours for a message to this member. A rumour against the member comes first, so that it can
        refute it. If it has accused this one, this one's own status follows: the accusation may already be refuted."""
        own = (self._own_rumour(),) if has_accused else ()
        return self._accusation(member) + own + self._rumours.take(self._live)

    def _tell(self, member: str, words: tuple[Rumour, ...]) -> None:
        """Ping the member now, unless that was done within the period."""
        standing = self.standings.get(member)
        if standing is None:
            return
        if standing.told_ms is None or self._time_ms - standing.told_ms >= self.options.protocol_period_ms:
            standing.told_ms = self._time_ms
            self.requests.append(ProbeRequest(member, Ping(words)))

    def _accusation(self, member: str) -> tuple[Rumour, ...]:
        standing = self.standings.get(member)
        return () if standing is None else standing.accusation(member, self.options.member)

    # Rumours

    def _absorb(self, rumours: tuple[Rumour, ...]) -> bool:
        """Apply rumours; return whether one of them was against this member."""
        is_accused = False
        for rumour in rumours:
            is_own = rumour.member == self.options.member
            if self.is_ahead(rumour.life.start) and not (is_own and rumour.life.start <= self.life.start):
                self._refuse(rumour)
            elif is_own:
                is_accused |= self._defend(rumour)
            elif rumour.member in self.standings:
                self._believe(rumour, self.standings[rumour.member])
        return is_accused

    def _believe(self, rumour: Rumour, standing: MemberHealth) -> None:
        is_stale = rumour.life.start == standing.former.start and rumour.life < standing.former
        if not standing.is_probed or is_stale:
            return
        if rumour.rank > rank(standing.status, standing.life):
            self._become(rumour.member, rumour.status, rumour.life)
        elif rumour.rank != rank(standing.status, standing.life) or rumour.status != SUSPECT:
            return
        if standing.suspicion is None or standing.suspicion.confirm(rumour.accuser):
            self._rumours.add(rumour)
        if standing.status == LEFT and not standing.has_signed_off:
            self._tell(rumour.member, self._accusation(rumour.member))

    def _refuse(self, rumour: Rumour) -> None:
        """Count a rumour about a start that is ahead of the clock, and log it once per member."""
        self.tally.rumours_refused += 1
        if rumour.member in self.standings | {self.options.member: None} and rumour.member not in self._told_ahead:
            self._told_ahead.add(rumour.member)
            self.outbox.say_lasting(Notice("rumour_refused", {"peer": rumour.member, "reason": INCARNATION_AHEAD}))

    def _defend(self, rumour: Rumour) -> bool:
        """Refute a rumour against this member; return whether it was one."""
        if rumour.status == ALIVE:
            return False
        if rumour.status == LEFT:
            if self.has_left and rumour.life.start == self.life.start:
                return False
            if rumour.life.start >= self.life.start:
                self._refute(Life(rumour.life.start + 1, 0))
        elif rumour.life >= self.life:
            self._refute(Life(rumour.life.start, rumour.life.refutations + 1))
        return True

    def _refute(self, life: Life) -> None:
        if life.refutations >= INCARNATION_END:
            # No message could hold it.
            life = Life(life.start + 1, 0)
        self.life = life
        self.health = min(HEALTH_MAX, self.health + 1)
        self.tally.refutations += 1
        self._rumours.add(self._own_rumour())

    def _own_rumour(self) -> Rumour:
        return Rumour(self.options.member, LEFT if self.has_left else ALIVE, self.life)

    # Standings

    def _is(self, member: str, status: str) -> bool:
        standing = self.standings.get(member)
        return standing is not None and standing.is_probed and standing.status == status

    def _exists(self, member: str) -> bool:
        standing = self.standings.get(member)
        return standing is not None and standing.is_probed and standing.status != LEFT

    def _become(self, member: str, status: str, life: Life) -> None:
        standing = self.standings[member]
        before, was = standing.status, standing.life
        if life.start > was.start:
            standing.former = was
            standing.has_signed_off = False
        # `left` overrides all rumours about a life, but does not take them back.
        life = max(life, was)
        standing.status, standing.life, standing.suspicion = status, life, None
        if status == SUSPECT:
            needed = confirmations_needed(self.options.suspicion_multiplier, self._live)
            standing.suspicion = Suspicion(self._time_ms, self._shortest_suspicion_ms(), needed)
        if status == before:
            return
        standing.since_ms = self.now_ms
        if before in (SUSPECT, DEAD) and status == ALIVE and life.start == was.start:
            self.tally.suspicions["refuted" if before == SUSPECT else "false_dead"] += 1
        fields = {"peer": member, "before": before, "incarnation": life.start, "refutations": life.refutations}
        self.outbox.say_lasting(Notice(f"member_{status}", fields))
        self._count()

    def _shortest_suspicion_ms(self) -> int:
        return shortest_ms(self.options.suspicion_multiplier, self._live, self.options.protocol_period_ms)

    def _count(self) -> None:
        self._live = 1 + sum(standing.is_living for standing in self.standings.values())
