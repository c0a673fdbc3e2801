"""The table of the other members: who they are, where they are reached, and which one to talk to next.

Members become known in three ways. Discovery supplies endpoints. Answers say which member is at an endpoint.
`sys.members` says where each member wants to be reached. A member that fails is tried less often, and never given up.
The failure detector says whether it is alive (`core/membership/swim.py`).

*Choice of peers.* Rounds and pushes go to living members, those of the own zone first. Every few rounds, one goes to a
dead member and one to another zone, so neither is ever given up. A share of each push also crosses to another zone.

*Letting go.* Discovery does not remove a member by failing to find it. But if discovery knows all members that exist, a
member that it no longer lists is **let go**. It counts as left and is not tried; its record stays as it is. It is taken
back when it is listed again, speaks or answers, or when its record tells of a later start. A member that is listed is
never let go, no matter how long it is silent.

*Which hosts are dialled.* Anyone who reaches the gossip port can write a record, and a record may name any host. So
once discovery knows all members that exist, only two kinds of hosts are dialled: those that discovery has found at some
time, and those where the member has answered before. A member whose record names another host is listed all the same,
and may call this member. If discovery knows only seeds, records are dialled as they are. `dialled_hosts` can fix either
rule for all discoveries.

*Refused records.* The number of members is bounded, and incarnations too far ahead of the clock are refused. A member
whose record is refused may hold rows. While there is one, this replica does not know all members: see `lists_all`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator

from gossipkv.core.membership.health import MemberHealth
from gossipkv.core.membership.peer import Peer
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
"""With at most this many other members, push each write to all of them."""

FANOUT_MARGIN = 4
"""The `c` of the fanout ln(n) + c. Forwarding to that many members on first sight reaches all of n with probability
exp(-exp(-c)): 98 % here. Sync rounds reach the rest. Source: Kermarrec, Massoulié, Ganesh, "Probabilistic Reliable
Dissemination in Large-Scale Systems", 2003."""


UNFOUND_MAX = 10
"""Number of consecutive reports of discovery without an address after which the address is given up."""

DEAD_ROUNDS = 4
"""One in this many rounds is with a dead member, if there is one that may be tried."""

CROSSING_ROUNDS = 3
"""One in this many rounds is with a member of another zone. On average, a write then enters each of z zones within 3 *
(z - 1) gossip intervals, from each member of its zone."""

UNPROVEN_ROUNDS = 3
"""One in this many rounds may be with a member that has never answered, if others have."""

CROSSING_SHARE = 3
"""One in this many of the members that a write is pushed to is in another zone."""


HOSTS_MAX = 10_000
"""Maximum number of found hosts that are remembered; the latest count."""

REFUSED_MAX = 1_000
"""Maximum number of members whose refused records are examined again."""

AHEAD = "incarnation"
TOO_MANY = "too_many"
ENDPOINT = "endpoint"
"""The reasons for not taking a record as it is; they label a metric."""


class Membership:
    """The peers of one member."""

    def __init__(self, options: ReplicaOptions, rng: random.Random, swim: Swim, outbox: Outbox) -> None:
        self._swim = swim
        self.outbox = outbox
        self._rounds = 0
        self.zone = options.zone
        """The zone of this member."""
        self._options = options
        self._rng = rng
        self._members: dict[str, Peer] = {}
        self._contacts: dict[str, Peer] = {}
        """Endpoints that discovery gave and whose member is not known, with the peer for each."""
        self._unfound: dict[str, int] = {}
        """The number of consecutive reports of discovery that lacked such an endpoint."""
        self._left_by_forgotten: set[str] = set()
        """Endpoints of members forgotten since the process began that discovery still gives."""
        self._aliases: dict[str, str] = {}
        """Endpoints at which a member has answered although it is reached at another one, while nothing is wrong with
        that."""
        self._found: tuple[str, ...] = ()
        """The endpoints that discovery gave last."""
        self._own_endpoints = {options.endpoints.get(GOSSIP, "")}
        self.has_been_answered = False
        self.has_looked = False
        """Whether discovery has reported anything yet."""
        self._existing: frozenset[str] | None = None
        """All members that exist, as discovery last reported; None while it cannot tell."""
        self._forgotten: set[ReplicaId] = set()
        self._withdrawn: set[ReplicaId] = set()
        """Replicas that a row called forgotten, and that have denied it."""
        self._not_believed: set[ReplicaId] = set()
        """Replicas that a row calls forgotten, and that answer."""
        self._hosts: dict[str, None] = {}
        """The hosts that discovery has found, oldest first."""
        self._knows_hosts = options.dialled_hosts == DISCOVERED
        """Whether a host that has not been found belongs to no member."""
        self.refused: dict[str, str] = {}
        """The members whose records are refused, by name, with the reason."""
        self._refused_too_many = False

    def peers(self) -> Iterator[Peer]:
        """Yield all other members, contacts included, in a fixed order."""
        for member in sorted(self._members):
            yield self._members[member]
        for endpoint in sorted(self._contacts):
            yield self._contacts[endpoint]

    def member(self, member: str) -> Peer | None:
        """Return the peer of this name; None if it is not known."""
        return self._members.get(member)

    def members(self) -> list[Peer]:
        """Return the peers whose names are known, by name."""
        return [self._members[member] for member in sorted(self._members)]

    def names(self) -> dict[ReplicaId, str]:
        """Return the members' names by replica id, for those whose replica is known."""
        return {peer.replica: member for member, peer in self._members.items() if peer.replica is not None}

    def unlisted(self) -> set[ReplicaId]:
        """Return the replicas that have spoken as members and that no record names."""
        spoken = {peer.replica for peer in self._members.values() if peer.replica is not None}
        return spoken - {peer.record.replica for peer in self._members.values() if peer.record is not None}

    @property
    def has_unknown_contacts(self) -> bool:
        """Whether discovery gave an endpoint whose member is not known yet. The endpoint of a forgotten member does not
        count: a list of addresses that is written by hand may still name it."""
        return bool(self._contacts.keys() - self._left_by_forgotten)

    def unreached(self) -> tuple[str, ...]:
        """Return the endpoints that discovery gave, that were tried, and where no member has answered yet."""
        return tuple(endpoint for endpoint, peer in sorted(self._contacts.items()) if peer.is_told_unreached)

    def replicas(self) -> set[ReplicaId]:
        """Return the replicas that the other members run as, by their records or by what those present have said."""
        spoken = {peer.replica for peer in self.present() if peer.replica is not None}
        return spoken | {peer.record.replica for peer in self._members.values() if peer.record is not None}

    def recorded(self) -> set[ReplicaId]:
        """Return the replicas that the other members run as, by their records."""
        return {peer.record.replica for peer in self._members.values() if peer.record is not None}

    def knows_of_others(self) -> bool:
        """Return whether a member is listed that has not left, or an endpoint has been found that is not this
        member's."""
        return any(peer.status != LEFT for peer in self._members.values()) or any(
            endpoint not in self._own_endpoints for endpoint in self._found
        )

    def is_found(self, peer: Peer) -> bool:
        """Return whether discovery lists the member, or has not reported anything yet."""
        if not self.has_looked or (self._existing is not None and peer.member in self._existing):
            return True
        recorded = peer.record.endpoints.get(GOSSIP) if peer.record is not None else None
        return peer.endpoint in self._found or recorded in self._found

    def discovered(self, endpoints: Iterable[str], existing: frozenset[str] | None = None) -> None:
        """Take the endpoints of a report of discovery. Those that are known, or this member's own, are not new.
        `existing` names all members that exist; None if discovery cannot tell."""
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
                    # Earlier failures say nothing of what runs under the name now.
                    peer.failures = 0
                    self._take_back(peer, 0)

    def _dial_found(self) -> None:
        """Make contacts of the found endpoints that belong to no known member.

        A member that was let go may have been replaced by another member at its endpoint. Discovery does not report
        again what has not changed, but the member at an address does change: members move, are forgotten, and answer
        elsewhere. Counterexample to dialling only new endpoints: a member is forgotten and comes back as another
        replica. It gossips and takes writes. Until its record has come, it is neither listed nor dialled, and what is
        collected until then outdates it.
        """
        known = {peer.endpoint for peer in self._members.values() if not peer.is_let_go} | self._own_endpoints
        known.update(endpoint for endpoint, member in self._aliases.items() if member in self._members)
        for endpoint in self._found:
            if endpoint not in known and endpoint not in self._contacts:
                self._contacts[endpoint] = Peer(endpoint)

    def look_again(self, peer: Peer) -> None:
        """Dial the found endpoints at which the member has answered besides the one where it is reached: what it says
        there counts for more.

        Counterexample to one answer from there: it comes before the member's record is covered, so nothing may be
        concluded from it. Everything later comes from the host in the record, which discovery has not found. A volume
        that was set back is then never set aside.
        """
        if peer.member is not None:
            self._drop_aliases(peer.member)

    def _drop_aliases(self, member: str) -> None:
        self._aliases = {endpoint: each for endpoint, each in self._aliases.items() if each != member}

    def _drop_contacts(self, *, is_complete: bool) -> None:
        """Stop waiting for addresses that have not answered and are no longer found. A list that names no members may
        be partial, so several consecutive lists must lack them."""
        self._unfound = {each: self._unfound.get(each, 0) + 1 for each in self._contacts if each not in self._found}
        for endpoint, times in sorted(self._unfound.items()):
            if is_complete or times >= UNFOUND_MAX:
                gone = self._contacts.pop(endpoint)
                if gone.is_told_unreached:
                    self._note_gone(gone)

    def _note_hosts(self, *, is_complete: bool) -> None:
        """Vouch for the hosts found. Dial members that have waited for that. Stop dialling those that have not answered
        at hosts that discovery does not vouch for."""
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
                # Its transfers would never end, and no other could begin meanwhile.
                peer.conversation.abandon_transfers()
                self._note_unvouched(peer, recorded)

    def may_dial(self, endpoint: str) -> bool:
        """Return whether an endpoint in a record may be dialled."""
        return bool(endpoint) and (not self._knows_hosts or host_of(endpoint) in self._hosts)

    def is_vouched(self, peer: Peer) -> bool:
        """Return whether discovery has found the host at which the peer is dialled."""
        return bool(peer.endpoint) and host_of(peer.endpoint) in self._hosts

    def _note_unvouched(self, peer: Peer, endpoint: str) -> None:
        if endpoint and not peer.is_unvouched:
            peer.is_unvouched = True
            fields = {"peer": peer.member, "host": endpoint, "reason": "discovery has not found its host"}
            self.outbox.say_lasting(Notice("member_not_dialled", {**fields}))

    def refusal_of(self, member: str, record: MemberRecord) -> str | None:
        """Return why the record of another member is refused, or None if it is accepted. A refusal makes `lists_all`
        False."""
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
        """Whether no record is refused. Otherwise nothing is known to hold for all members."""
        return not self.refused and not self._refused_too_many

    def _let_go(self, peer: Peer) -> None:
        if not peer.is_let_go:
            peer.is_let_go = True
            if peer.member is not None:
                self._swim.let_go(peer.member)
            peer.conversation.abandon_transfers()
            self._note_gone(peer)

    def _note_gone(self, peer: Peer) -> None:
        """Log that a peer was let go. If the log says that it is not reached, this notice ends that."""
        is_end, peer.is_told_unreached = peer.is_told_unreached, False
        fields: dict[str, object] = {"peer": peer.member or peer.endpoint, "reason": "it no longer exists"}
        self.outbox.say_lasting(Notice("member_let_go", fields, is_warning=is_end))

    def _exists(self, peer: Peer) -> bool:
        """Return whether discovery lists the peer, as far as it can tell."""
        return self._existing is None or peer.member in self._existing

    def _may_exist(self, peer: Peer) -> bool:
        """Return whether to take the peer back because it was heard. If discovery does not list it, it must have an
        address to dial. Otherwise no attempt could fail, and it would never be let go again."""
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
        """Return whether the peer's record names the replica that it runs as. `covered` is a context of the shard
        `sys`, which must cover the record."""
        record, dot = (None, None) if peer is None else (peer.record, peer.record_dot)
        return (
            peer is not None
            and record is not None
            and dot is not None
            and record.replica == peer.replica
            and covered.covers(dot)
        )

    def listed(self) -> list[Peer]:
        """Return the members with a record, including those that have left."""
        return [peer for peer in self.members() if peer.record is not None]

    def present(self) -> list[Peer]:
        """Return the members with a record, and those that are alive without one. A dead member without a record here
        can never be forgotten, so only what is unsafe without it waits for it."""
        return [peer for peer in self.members() if peer.record is not None or peer.is_living]

    def all_hold(self, shard: str, dot: Dot) -> bool:
        """Return whether all members that are present are known to hold a write, or what superseded it."""
        return self.lists_all and all(peer.conversation.holds(shard, dot) for peer in self.present())

    def load_forgotten(self, replicas: Iterable[ReplicaId], withdrawn: Iterable[ReplicaId]) -> None:
        """Replace what is known by what is committed."""
        self._forgotten.clear()
        self._not_believed.clear()
        self._withdrawn = set(withdrawn)
        for replica in replicas:
            self.hear_forgotten(replica)

    def is_forgotten(self, replica: ReplicaId) -> bool:
        """Return whether a row that is believed calls the replica forgotten."""
        return replica in self._forgotten

    def is_called_forgotten(self, replica: ReplicaId) -> bool:
        """Return whether a row calls the replica forgotten, or once did, believed or not."""
        return replica in self._forgotten or replica in self._not_believed or replica in self._withdrawn

    def hear_forgotten(self, replica: ReplicaId) -> bool:
        """Note that a row calls a replica forgotten; return whether that is believed. It is not if the replica has been
        heard here recently."""
        if any(self._was_heard(peer) for peer in self._members.values() if replica == _runs_as(peer)):
            self._not_believed.add(replica)
            return False
        self.forget(replica)
        return True

    def _was_heard(self, peer: Peer) -> bool:
        is_silent = peer.member is None or self._swim.silence_ms(peer.member) >= self._options.forget_silence_ms
        return peer.is_answering or not is_silent

    def judge_again(self) -> None:
        """Believe the rows about replicas that have been silent for long enough by now."""
        for replica in sorted(self._not_believed):
            self.hear_forgotten(replica)

    def remember(self, replica: ReplicaId) -> bool:
        """Treat a replica as any other again, because the row about it was deleted; return whether it was forgotten."""
        was_forgotten = replica in self._forgotten
        self._withdrawn.add(replica)
        self._forgotten.discard(replica)
        self._not_believed.discard(replica)
        return was_forgotten

    def forget(self, replica: ReplicaId) -> None:
        """Stop counting a replica as a member, no matter what is said of it."""
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
        """Take in the record of a member; return its peer if this is the first record of it, otherwise None."""
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

    def _new_standing(self, member: str, incarnation: int) -> MemberHealth:
        standing = self._swim.learn(member, incarnation)
        if not standing.is_probed:
            # It was forgotten, and has come back as another replica.
            self._swim.take_back(member)
        return standing

    def identified(self, peer: Peer, member: str, incarnation: int, now_ms: int) -> Peer:
        """Note that an endpoint has answered as this incarnation of a member; return the peer that stands for the
        member from now on."""
        if peer.member == member:
            return peer
        endpoint = peer.endpoint
        if peer.member is not None:
            # Addresses are reused: the member that was dialled is no longer there.
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
            # The member is reached where it answers, until its record says so too. The address of its last life may not
            # have failed yet.
            known.endpoint = endpoint
        if known.endpoint != endpoint:
            self._aliases[endpoint] = member
        if peer.member is None:
            known.is_told_unreached |= peer.is_told_unreached
        return known

    def dial_as_recorded(self, peer: Peer) -> None:
        """Dial the peer where its record says, because another process of the member's name has answered elsewhere."""
        if peer.record is not None and self.may_dial(recorded := peer.record.endpoints.get(GOSSIP, "")):
            peer.endpoint = recorded

    def succeeded(self, peer: Peer) -> None:
        """Note that an exchange with the peer succeeded."""
        self.has_been_answered = True
        self._take_back(peer, 0)
        peer.has_answered = True
        peer.failures = 0
        peer.retry_at_ms = 0
        if peer.member is not None:
            self._swim.heard(peer.member)
        self._begin_again(peer)

    def _begin_again(self, peer: Peer) -> None:
        """Note that a peer has not left if it speaks as a later incarnation than the one that left. The record that
        says so may not have come yet, or may be refused because the member's clock is too far ahead."""
        standing = peer.standing
        if peer.member is not None and standing.status == LEFT and peer.incarnation > standing.life.start:
            peer.standing = self._swim.learn(peer.member, peer.incarnation)

    def replaced(self, peer: Peer) -> None:
        """Note that the peer runs as its present incarnation, no matter what was heard before."""
        if peer.member is not None:
            self._swim.replaced(peer.member, peer.incarnation)

    def heard_from(self, peer: Peer, now_ms: int) -> None:
        """Note that the peer has begun an exchange, so it runs and may be tried again at once.

        Its failures stand until it answers: to be heard is not to be reached. Otherwise a transfer from a peer that
        only talks would never be given up, and no other transfer could begin.
        """
        peer.retry_at_ms = min(peer.retry_at_ms, now_ms)
        if self._may_exist(peer):
            self._take_back(peer, now_ms)
        self._begin_again(peer)

    def failed(self, peer: Peer, now_ms: int) -> None:
        """Note that an exchange with the peer failed. Pause, longer each time, and compare again before any other
        exchange."""
        peer.failures += 1
        pause_ms = min(self._options.gossip_interval_ms * 2 ** min(peer.failures - 1, 16), self._options.retry_ms_max)
        peer.retry_at_ms = now_ms + round(pause_ms * self._rng.uniform(0.75, 1.25))
        peer.conversation.is_sync_due = True
        peer.conversation.offered.clear()
        if peer.failures >= 3:
            peer.conversation.abandon_transfers()
        if peer.member is not None:
            self._drop_aliases(peer.member)
            # Another member may now use the address at which this one answered last.
            recorded = "" if peer.record is None else peer.record.endpoints.get(GOSSIP, "")
            if self.may_dial(recorded):
                peer.endpoint = recorded
            if not self._exists(peer):
                # The message that took it back was sent before the member went.
                self._let_go(peer)

    def sync_partner(self, now_ms: int) -> Peer | None:
        """Return a random peer to begin a round with, among those that may be tried now; None if there is none. It is
        alive and of the own zone if possible, except in the rounds that the rules above give to others."""
        self._rounds += 1
        self._dial_found()
        candidates = [peer for peer in self.peers() if peer.is_idle(now_ms) and peer.status != LEFT]
        dead = [peer for peer in candidates if peer.status == DEAD]
        live = [peer for peer in candidates if peer.status != DEAD]
        if dead and (not live or self._rounds % DEAD_ROUNDS == 0):
            return self._rng.choice(dead)
        proven = [peer for peer in live if peer.has_answered]
        if proven and (len(proven) == len(live) or self._rounds % UNPROVEN_ROUNDS):
            # Anyone can invent members that never answer: they must not take the rounds of the others.
            live = proven
        near, far = self._by_zone(live)
        chosen = far if not near or self._rounds % CROSSING_ROUNDS == 0 else near
        return self._rng.choice(chosen or live) if live else None

    def _by_zone(self, peers: list[Peer]) -> tuple[list[Peer], list[Peer]]:
        """Return the peers of the own zone, and those of others. Two kinds count as near: a peer whose zone is not
        known, and one that has not answered yet, which must not wait."""
        far = [
            peer
            for peer in peers
            if None not in (self.zone, peer.zone) and peer.zone != self.zone and peer.has_answered
        ]
        return [peer for peer in peers if peer not in far], far

    def push_targets(self) -> list[Peer]:
        """Return the members to push new writes to. In a small cluster these are all living members. In a large one
        they are some of the own zone and some of others. A member that has never answered gets a round first."""
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
        """Return whether the member that writes pushes to all others, so that no other member has to forward."""
        fanout = self._options.fanout or PUSH_TO_ALL_MAX
        return len(self._members) <= fanout


def _runs_as(peer: Peer) -> ReplicaId | None:
    """Return the replica that the peer runs as, by its record if it has one."""
    return peer.record.replica if peer.record is not None else peer.replica
