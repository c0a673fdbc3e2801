"""Who the other members are, where they are reached, and whom to talk to.

Members come from three sources: discovery supplies endpoints, answers tell whose they are, and `sys.members` says where
each member wants to be reached. A member that fails is tried less often, and never forgotten. Whether one is alive is
for the failure detector to say (`core/swim.py`).

Rounds and pushes go to members that are alive, those of the own zone first. Every few rounds one goes to a member that
is dead, and one to another zone, so that neither is ever given up; a share of each push crosses too.

Discovery removes no member by failing to find it. Where it knows all members that exist, one that is not among them is
let go: it counts as left and is not tried, though its record stays as it is. It is taken back when it is listed again,
speaks or answers, or when its record tells of a later start. One that is listed is never let go, however silent it is.

A record may name any host, and anyone who reaches the gossip port can write one. So once discovery knows all members
that exist, a member is dialled only at a host that discovery has found at some time, or where it has answered before.
A record that names another host is listed all the same, and the member may talk. Where discovery knows seeds alone,
records are dialled as they are. `dialled_hosts` chooses one or the other for all discoveries.

The number of members is bounded, and incarnations too far ahead of the clock are refused. A member whose record is
refused may hold rows. While there is one, this replica does not know all members: see `lists_all`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator

from gossipkv.core.membership.peer import Peer
from gossipkv.core.membership.standing import Standing
from gossipkv.core.membership.swim import Swim
from gossipkv.core.model.causality import Context, Dot, ReplicaId
from gossipkv.core.model.endpoint import host_of
from gossipkv.core.model.member import DEAD, GOSSIP, LEFT, MemberRecord
from gossipkv.core.model.outbox import Outbox
from gossipkv.core.model.tally import Notice
from gossipkv.core.options import DISCOVERED, RECORDED, ReplicaOptions

MEMBER_FORGOTTEN = "member_forgotten"
"""The event of a notice that holds only if the batch is committed."""

PUSH_TO_ALL_MAX = 8
"""With at most this many other members, each write is pushed to all of them."""

FANOUT_MARGIN = 4
"""Forwarding to ln(n) + c members on first sight reaches all of n with probability exp(-exp(-c)): 98 % here; sync
rounds reach the rest. Source: Kermarrec, Massoulié, Ganesh, "Probabilistic Reliable Dissemination in Large-Scale
Systems", 2003."""


UNFOUND_MAX = 10
"""Reports of discovery in a row that lack an address before it is given up."""

DEAD_ROUNDS = 4
"""One in this many rounds is with a member that is dead, if there is one that may be tried."""

CROSSING_ROUNDS = 3
"""One in this many rounds is with a member of another zone: a write that is in one zone enters each of z zones
within 3 * (z - 1) intervals of the gossip on average, from each of its members."""

UNPROVEN_ROUNDS = 3
"""One in this many rounds is with a member that has never answered, if there are both."""

CROSSING_SHARE = 3
"""Of the members that a write is pushed to, one in this many is of another zone."""


HOSTS_MAX = 10_000
"""Maximum number of hosts that are remembered as found; the latest count."""

REFUSED_MAX = 1_000
"""Maximum number of members whose refused records are looked at again."""

AHEAD = "incarnation"
TOO_MANY = "too_many"
ENDPOINT = "endpoint"
"""Why a record is not taken as it is: it labels a metric."""


class Membership:
    """The peers of one member."""

    def __init__(self, options: ReplicaOptions, rng: random.Random, swim: Swim, outbox: Outbox) -> None:
        self._swim = swim
        self.outbox = outbox
        self._rounds = 0
        self.zone = options.zone
        """This member's own."""
        self._options = options
        self._rng = rng
        self._members: dict[str, Peer] = {}
        self._contacts: dict[str, Peer] = {}
        """Endpoints that discovery gave and of which it is not known whose they are."""
        self._unfound: dict[str, int] = {}
        """By such an endpoint, how many of the last reports of discovery, in a row, lacked it."""
        self._left_by_forgotten: set[str] = set()
        """Endpoints that discovery still gives of members that have been forgotten since the process began."""
        self._aliases: dict[str, str] = {}
        """Endpoints at which a member has answered that is reached at another, while nothing is wrong with that."""
        self._found: tuple[str, ...] = ()
        """The endpoints that discovery gave last."""
        self._own_endpoints = {options.endpoints.get(GOSSIP, "")}
        self.has_been_answered = False
        self.has_looked = False
        """Whether discovery has told anything yet."""
        self._existing: frozenset[str] | None = None
        """All members that exist, as discovery last said; None while it cannot tell."""
        self._forgotten: set[ReplicaId] = set()
        self._withdrawn: set[ReplicaId] = set()
        """Replicas that were said to be forgotten, and have denied it."""
        self._not_believed: set[ReplicaId] = set()
        """Replicas that are said to be forgotten, and that answer."""
        self._hosts: dict[str, None] = {}
        """The hosts that discovery has found, oldest first."""
        self._knows_hosts = options.dialled_hosts == DISCOVERED
        """Whether a host that has not been found is no member's."""
        self.refused: dict[str, str] = {}
        """Members whose records are refused, by name, with the reason."""
        self._refused_too_many = False

    def peers(self) -> Iterator[Peer]:
        """All others, contacts included, in a fixed order."""
        for member in sorted(self._members):
            yield self._members[member]
        for endpoint in sorted(self._contacts):
            yield self._contacts[endpoint]

    def member(self, member: str) -> Peer | None:
        return self._members.get(member)

    def members(self) -> list[Peer]:
        return [self._members[member] for member in sorted(self._members)]

    def names(self) -> dict[ReplicaId, str]:
        """The members' names by replica id, of those that have one known here."""
        return {peer.replica: member for member, peer in self._members.items() if peer.replica is not None}

    def unlisted(self) -> set[ReplicaId]:
        """Replicas that have spoken as members and that no record names."""
        spoken = {peer.replica for peer in self._members.values() if peer.replica is not None}
        return spoken - {peer.record.replica for peer in self._members.values() if peer.record is not None}

    @property
    def has_unknown_contacts(self) -> bool:
        """Whether it is not known yet who is at some endpoint that discovery gave. Where a member was that has been
        forgotten, nobody need be: a list of addresses that is written by hand may still name it."""
        return bool(self._contacts.keys() - self._left_by_forgotten)

    def unreached(self) -> tuple[str, ...]:
        """Endpoints that discovery gave, that were tried, and where no member has answered yet."""
        return tuple(endpoint for endpoint, peer in sorted(self._contacts.items()) if peer.is_told_unreached)

    def replicas(self) -> set[ReplicaId]:
        """Those that the other members run as, by their records or by what those present have said."""
        spoken = {peer.replica for peer in self.present() if peer.replica is not None}
        return spoken | {peer.record.replica for peer in self._members.values() if peer.record is not None}

    def recorded(self) -> set[ReplicaId]:
        """Those that the other members run as, by their records."""
        return {peer.record.replica for peer in self._members.values() if peer.record is not None}

    def knows_of_others(self) -> bool:
        """Whether a member is listed that has not left, or an endpoint has been found that is not this member's."""
        return any(peer.status != LEFT for peer in self._members.values()) or any(
            endpoint not in self._own_endpoints for endpoint in self._found
        )

    def is_found(self, peer: Peer) -> bool:
        """Whether discovery lists the member, or has not told anything yet."""
        if not self.has_looked or (self._existing is not None and peer.member in self._existing):
            return True
        recorded = peer.record.endpoints.get(GOSSIP) if peer.record is not None else None
        return peer.endpoint in self._found or recorded in self._found

    def discovered(self, endpoints: Iterable[str], existing: frozenset[str] | None = None) -> None:
        """Take endpoints to try. Those that are known, or this member's own, are not new. `existing` names all members
        that exist, where that is known."""
        self.has_looked = True
        self._found = tuple(endpoints)
        self._note_hosts(is_complete=existing is not None)
        self._aliases = {each: member for each, member in self._aliases.items() if each in self._found}
        self._left_by_forgotten.intersection_update(self._found)
        self._dial_found()
        self._drop_contacts(is_complete=existing is not None)
        self._existing = existing
        if existing is not None:
            for peer in self.members():
                if peer.member not in existing:
                    self._let_go(peer)
                elif peer.is_let_go:
                    # Whatever failed then says nothing of what exists under the name now.
                    peer.failures = 0
                    self._take_back(peer, 0)

    def _dial_found(self) -> None:
        """Make contacts of the endpoints found that belong to no one known. Where a member that was let go used to be,
        another may be found now. Discovery need not tell again of what has not changed, and whose an address is does
        change: members move, are forgotten, and answer elsewhere. Counterexample to dialling only what is new: a
        member is forgotten and comes back as another replica, gossips and takes writes, and is neither listed nor
        dialled before its record has come; what is collected until then outdates it."""
        known = {peer.endpoint for peer in self._members.values() if not peer.is_let_go} | self._own_endpoints
        known.update(endpoint for endpoint, member in self._aliases.items() if member in self._members)
        for endpoint in self._found:
            if endpoint not in known and endpoint not in self._contacts:
                self._contacts[endpoint] = Peer(endpoint)

    def _drop_aliases(self, member: str) -> None:
        self._aliases = {endpoint: each for endpoint, each in self._aliases.items() if each != member}

    def _drop_contacts(self, *, is_complete: bool) -> None:
        """Wait no longer for addresses that have not answered and are not found any more. A list that names no members
        may be partial, so several in a row must lack them."""
        self._unfound = {each: self._unfound.get(each, 0) + 1 for each in self._contacts if each not in self._found}
        for endpoint, times in sorted(self._unfound.items()):
            if is_complete or times >= UNFOUND_MAX:
                gone = self._contacts.pop(endpoint)
                if gone.is_told_unreached:
                    self._note_gone(gone)

    def _note_hosts(self, *, is_complete: bool) -> None:
        """Vouch for the hosts found; dial members that have waited for that, and no longer those that no one vouches
        for and that have not answered."""
        for host in map(host_of, self._found):
            self._hosts.pop(host, None)
            self._hosts[host] = None
        for host in list(self._hosts)[: max(0, len(self._hosts) - HOSTS_MAX)]:
            del self._hosts[host]
        self._knows_hosts |= is_complete and self._options.dialled_hosts != RECORDED
        for peer in self.members():
            if peer.record is None:
                continue
            recorded = peer.record.endpoints.get(GOSSIP, "")
            if peer.is_unvouched and self.may_dial(recorded):
                peer.is_unvouched = False
                peer.endpoint, peer.failures, peer.retry_at_ms, peer.conversation.is_sync_due = recorded, 0, 0, True
            elif peer.endpoint == recorded and not peer.has_answered and not self.may_dial(recorded):
                peer.endpoint = ""
                # What is under way with it would never end, and nothing else would be fetched meanwhile.
                peer.conversation.abandon_transfers()
                self._note_unvouched(peer, recorded)

    def may_dial(self, endpoint: str) -> bool:
        """Whether an endpoint in a record is dialled."""
        return bool(endpoint) and (not self._knows_hosts or host_of(endpoint) in self._hosts)

    def is_vouched(self, peer: Peer) -> bool:
        """Whether discovery has found the host at which it is dialled."""
        return bool(peer.endpoint) and host_of(peer.endpoint) in self._hosts

    def _note_unvouched(self, peer: Peer, endpoint: str) -> None:
        if endpoint and not peer.is_unvouched:
            peer.is_unvouched = True
            fields = {"peer": peer.member, "host": endpoint, "reason": "discovery has not found its host"}
            self.outbox.say_lasting(Notice("member_not_dialled", {**fields}))

    def refusal_of(self, member: str, record: MemberRecord) -> str | None:
        """Why the record of another member is refused; None if it is not. While any is refused, `lists_all` is not
        so."""
        reason = None
        if self._swim.is_ahead(record.incarnation):
            reason = AHEAD
        elif member not in self._members and len(self._members) >= self._options.members_max:
            reason = TOO_MANY
        if reason is None or record.replica in self._forgotten:
            self.refused.pop(member, None)
        elif member in self.refused or len(self.refused) < REFUSED_MAX:
            self.refused[member] = reason
        else:
            self._refused_too_many = True
        return reason

    @property
    def lists_all(self) -> bool:
        """Whether no record is refused. Otherwise what must hold for all members is not known."""
        return not self.refused and not self._refused_too_many

    def _let_go(self, peer: Peer) -> None:
        if not peer.is_let_go:
            peer.is_let_go = True
            if peer.member is not None:
                self._swim.let_go(peer.member)
            peer.conversation.abandon_transfers()
            self._note_gone(peer)

    def _note_gone(self, peer: Peer) -> None:
        """Where the log says that it is not reached, this is the end of that."""
        is_end, peer.is_told_unreached = peer.is_told_unreached, False
        fields: dict[str, object] = {"peer": peer.member or peer.endpoint, "reason": "it does not exist any more"}
        self.outbox.say_lasting(Notice("member_let_go", fields, is_warning=is_end))

    def _exists(self, peer: Peer) -> bool:
        """Whether discovery lists it, as far as it can tell."""
        return self._existing is None or peer.member in self._existing

    def _may_exist(self, peer: Peer) -> bool:
        """Whether to take it back because of what was heard: if discovery does not list it, in order to try it. Where
        it may not be dialled no attempt would fail, and it would be clung to for ever."""
        return self._exists(peer) or bool(peer.endpoint)

    def _take_back(self, peer: Peer, retry_at_ms: int) -> None:
        if peer.is_let_go:
            peer.is_let_go = False
            if peer.member is not None:
                self._swim.take_back(peer.member)
            peer.conversation.is_sync_due = True
            peer.retry_at_ms = min(peer.retry_at_ms, retry_at_ms)
            self.outbox.say_lasting(Notice("member_taken_back", {"peer": peer.member}))

    def lists(self, peer: Peer | None, covered: Context) -> bool:
        """Whether its record, which this context of the shard `sys` must cover, names the replica that it is."""
        record, dot = (None, None) if peer is None else (peer.record, peer.record_dot)
        return (
            peer is not None
            and record is not None
            and dot is not None
            and record.replica == peer.replica
            and covered.covers(dot)
        )

    def listed(self) -> list[Peer]:
        """The members with a record, those that have left included."""
        return [peer for peer in self.members() if peer.record is not None]

    def present(self) -> list[Peer]:
        """The members with a record, and those that are alive without one. One that is dead and has no record here
        can never be forgotten, so only what is unsafe without it waits for it."""
        return [peer for peer in self.members() if peer.record is not None or peer.is_living]

    def all_hold(self, shard: str, dot: Dot) -> bool:
        """Whether all that are present are known to hold a write, or what superseded it."""
        return self.lists_all and all(peer.conversation.holds(shard, dot) for peer in self.present())

    def load_forgotten(self, replicas: Iterable[ReplicaId], withdrawn: Iterable[ReplicaId]) -> None:
        """Take what is committed in place of what was known."""
        self._forgotten.clear()
        self._not_believed.clear()
        self._withdrawn = set(withdrawn)
        for replica in replicas:
            self.hear_forgotten(replica)

    def is_forgotten(self, replica: ReplicaId) -> bool:
        return replica in self._forgotten

    def is_called_forgotten(self, replica: ReplicaId) -> bool:
        """Whether a row says so, or has said so, believed or not."""
        return replica in self._forgotten or replica in self._not_believed or replica in self._withdrawn

    def hear_forgotten(self, replica: ReplicaId) -> bool:
        """A row says that a replica is forgotten. Returns whether that is believed: not of one that has been heard here
        recently."""
        if any(self._was_heard(peer) for peer in self._members.values() if replica == _runs_as(peer)):
            self._not_believed.add(replica)
            return False
        self.forget(replica)
        return True

    def _was_heard(self, peer: Peer) -> bool:
        is_silent = peer.member is None or self._swim.silence_ms(peer.member) >= self._options.forget_silence_ms
        return peer.is_answering or not is_silent

    def judge_again(self) -> None:
        """Believe that those are forgotten that have been silent for long enough by now."""
        for replica in sorted(self._not_believed):
            self._not_believed.discard(replica)
            self.hear_forgotten(replica)

    def remember(self, replica: ReplicaId) -> bool:
        """The row about it was deleted: it is a member like any other. Returns whether it was forgotten."""
        was_forgotten = replica in self._forgotten
        self._withdrawn.add(replica)
        self._forgotten.discard(replica)
        self._not_believed.discard(replica)
        return was_forgotten

    def forget(self, replica: ReplicaId) -> None:
        """It counts as a member no more, whatever is said of it."""
        self._not_believed.discard(replica)
        self._forgotten.add(replica)
        for peer in self.members():
            if peer.member is not None and replica == _runs_as(peer):
                del self._members[peer.member]
                self._left_by_forgotten.add(peer.endpoint)
                peer.conversation.abandon_transfers()
                self._swim.let_go(peer.member)
                fields: dict[str, object] = {"peer": peer.member, "replica": f"{replica:016x}"}
                self.outbox.say(Notice(MEMBER_FORGOTTEN, fields, is_warning=peer.is_told_unreached))

    def learn_record(self, member: str, record: MemberRecord, dot: Dot) -> Peer | None:
        """Take in what `sys.members` says of a member; returns it if that is the first word of it."""
        recorded = record.endpoints.get(GOSSIP)
        if member == self._options.member or recorded is None or record.replica in self._forgotten:
            return None
        peer = self._members.get(member)
        is_new = peer is None or peer.record is None
        if self.may_dial(recorded):
            endpoint = recorded
        else:
            endpoint = "" if peer is None else peer.endpoint
        if peer is None:
            peer = self._contacts.pop(endpoint, None) or Peer(endpoint)
            peer.member = member
            self._members[member] = peer
            self._new_standing(member, record.incarnation)
        peer.standing = self._swim.learn(member, record.incarnation, record.has_left)
        moved = peer.endpoint != endpoint
        returned = peer.record is not None and record.incarnation > peer.record.incarnation
        if moved or returned:
            self._drop_aliases(member)
            peer.failures = 0
            peer.retry_at_ms = 0
            peer.conversation.is_sync_due = True
        peer.endpoint = endpoint
        if returned and self._may_exist(peer):
            self._take_back(peer, 0)
        elif is_new and not peer.has_answered and not self._exists(peer):
            self._let_go(peer)
        if endpoint == recorded:
            peer.is_unvouched = False
        else:
            self._note_unvouched(peer, recorded)
        peer.record = record
        peer.record_dot = dot
        contact = self._contacts.pop(endpoint, None)
        peer.is_told_unreached |= contact is not None and contact.is_told_unreached
        peer.become_replica(record.replica, record.incarnation)
        return peer if is_new else None

    def _new_standing(self, member: str, incarnation: int) -> Standing:
        standing = self._swim.learn(member, incarnation)
        if not standing.is_probed:
            # It was forgotten, and has come back as another replica.
            self._swim.take_back(member)
        return standing

    def identified(self, peer: Peer, member: str, incarnation: int, now_ms: int) -> Peer:
        """An endpoint has answered as this incarnation of a member; returns the peer that stands for it from now on."""
        if peer.member == member:
            return peer
        endpoint = peer.endpoint
        if peer.member is not None:
            # Addresses are reused: the one that was dialled has gone from there.
            self.failed(peer, now_ms)
        elif self._contacts.get(endpoint) is peer:
            del self._contacts[endpoint]
        self._left_by_forgotten.discard(endpoint)
        if member == self._options.member:
            self._own_endpoints.add(endpoint)
            return peer
        known = self._members.get(member)
        if known is None and len(self._members) >= 2 * self._options.members_max:
            # A stranger may answer under another name each time.
            return Peer(endpoint, member)
        if known is None:
            known = Peer(endpoint, member, standing=self._new_standing(member, incarnation))
            self._members[member] = known
        elif not known.endpoint or known.failures or incarnation > known.incarnation:
            # Where it answers is where it is reached, until its record says so too. The address of its last life may
            # not have failed yet.
            known.endpoint = endpoint
        if known.endpoint != endpoint:
            self._aliases[endpoint] = member
        if peer.member is None:
            known.is_told_unreached |= peer.is_told_unreached
        return known

    def dial_as_recorded(self, peer: Peer) -> None:
        """Another process of the member's name has answered: go to where the record says that this one is reached."""
        if peer.record is not None and self.may_dial(recorded := peer.record.endpoints.get(GOSSIP, "")):
            peer.endpoint = recorded

    def succeeded(self, peer: Peer) -> None:
        """An exchange with it went well."""
        self.has_been_answered = True
        self._take_back(peer, 0)
        peer.has_answered = True
        peer.failures = 0
        peer.retry_at_ms = 0
        if peer.member is not None:
            self._swim.heard(peer.member)
        self._begin_again(peer)

    def _begin_again(self, peer: Peer) -> None:
        """It speaks as a later incarnation than the one that left, so it has not left. The record that says so may not
        have come, or is refused because the member's clock is too far ahead."""
        standing = peer.standing
        if peer.member is not None and standing.status == LEFT and peer.incarnation > standing.life.start:
            peer.standing = self._swim.learn(peer.member, peer.incarnation)

    def replaced(self, peer: Peer) -> None:
        """It runs as the incarnation that it now has, whatever was heard before."""
        if peer.member is not None:
            self._swim.replaced(peer.member, peer.incarnation)

    def heard_from(self, peer: Peer, now_ms: int) -> None:
        """It has begun an exchange, so it runs: no more waiting before it is tried again. To be heard is not to be
        reached: its failures stand until it answers, or a transfer from a peer that only talks would never be given
        up, and would keep all others from beginning."""
        peer.retry_at_ms = min(peer.retry_at_ms, now_ms)
        if self._may_exist(peer):
            self._take_back(peer, now_ms)
        self._begin_again(peer)

    def failed(self, peer: Peer, now_ms: int) -> None:
        """An exchange with it failed: pause, longer each time, and learn its state again before anything else."""
        peer.failures += 1
        pause_ms = min(self._options.gossip_interval_ms * 2 ** min(peer.failures - 1, 16), self._options.retry_ms_max)
        peer.retry_at_ms = now_ms + round(pause_ms * self._rng.uniform(0.75, 1.25))
        peer.conversation.is_sync_due = True
        peer.conversation.offered.clear()
        if peer.failures >= 3:
            peer.conversation.abandon_transfers()
        if peer.member is not None:
            self._drop_aliases(peer.member)
            # Where it answered last somebody else may be by now.
            recorded = "" if peer.record is None else peer.record.endpoints.get(GOSSIP, "")
            if self.may_dial(recorded):
                peer.endpoint = recorded
            if not self._exists(peer):
                # What took it back was sent before it went.
                self._let_go(peer)

    def sync_partner(self, now_ms: int) -> Peer | None:
        """A random peer to begin a round with, among those that may be tried now: one that is alive, of the own zone
        where there is any; but see the rules above."""
        self._rounds += 1
        self._dial_found()
        candidates = [peer for peer in self.peers() if peer.is_idle(now_ms) and peer.status != LEFT]
        dead = [peer for peer in candidates if peer.status == DEAD]
        live = [peer for peer in candidates if peer.status != DEAD]
        if dead and (not live or self._rounds % DEAD_ROUNDS == 0):
            return self._rng.choice(dead)
        proven = [peer for peer in live if peer.has_answered]
        if proven and (len(proven) == len(live) or self._rounds % UNPROVEN_ROUNDS):
            # Anyone can invent members that never answer: they must not keep it from the others.
            live = proven
        near, far = self._by_zone(live)
        chosen = far if not near or self._rounds % CROSSING_ROUNDS == 0 else near
        return self._rng.choice(chosen or live) if live else None

    def _by_zone(self, peers: list[Peer]) -> tuple[list[Peer], list[Peer]]:
        """Those of the own zone and those of others. A peer whose zone is not known may be of any, and one that has
        not been reached since it was first heard of comes before all others: both count as near."""
        far = [
            peer
            for peer in peers
            if None not in (self.zone, peer.zone) and peer.zone != self.zone and peer.has_answered
        ]
        return [peer for peer in peers if peer not in far], far

    def push_targets(self) -> list[Peer]:
        """Whom to push new writes to: all members that are alive in a small cluster; in a large one some of them, of
        the own zone first, and some of others. One that has never answered gets a round first."""
        candidates = [peer for peer in self.members() if peer.status not in (DEAD, LEFT) and peer.has_answered]
        fanout = self._options.fanout
        if fanout == 0:
            small = len(candidates) <= PUSH_TO_ALL_MAX
            fanout = len(candidates) if small else math.ceil(math.log(len(candidates) + 1)) + FANOUT_MARGIN
        if fanout >= len(candidates):
            return candidates
        near, far = self._by_zone(candidates)
        crossing = min(
            len(far), max(fanout - len(near), (fanout + self._rng.randrange(CROSSING_SHARE)) // CROSSING_SHARE)
        )
        return self._rng.sample(far, crossing) + self._rng.sample(near, fanout - crossing)

    def pushes_to_all(self) -> bool:
        """Whether the member that writes pushes to all others, so that none of them need forward."""
        fanout = self._options.fanout or PUSH_TO_ALL_MAX
        return len(self._members) <= fanout


def _runs_as(peer: Peer) -> ReplicaId | None:
    """The replica that it runs as, by its record."""
    return peer.record.replica if peer.record is not None else peer.replica
