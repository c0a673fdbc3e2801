"""Whether a member is alone: it knows of others and is in touch with none of them.

A member knows of others when `sys.members` lists one that has not left, or when discovery finds an endpoint that is not
its own. Then it is alone

- from the start of its process until it has completed a sync of `sys` with another member;
- after that, while no other member has answered it or asked it anything for `SILENT_INTERVALS` gossip intervals.

A member that knows of no others is a whole cluster, and is not alone. What a member acknowledges while it is alone is
on one disk only, and what it reads may be old. So it reports that it is alone. It still takes reads and writes.
"""

from __future__ import annotations

from gossipkv.core.membership.membership import Membership
from gossipkv.core.model.address import SYSTEM
from gossipkv.core.model.tally import Notice

SILENT_INTERVALS = 10
"""The number of gossip intervals after which a silence counts."""


class Solitude:
    """The solitude of one member."""

    def __init__(self, membership: Membership, gossip_interval_ms: int, now_ms: int) -> None:
        self._membership = membership
        self._silence_ms = SILENT_INTERVALS * gossip_interval_ms
        self._heard_ms = now_ms
        """When another member was last heard; until then, the start of the process."""
        self._has_synced = False
        self._in_touch_since_ms: int | None = None
        """The time since which it has synced `sys` and heard others without a silence; None while that is not so."""
        self._is_told = False
        """Whether the log says that the member is alone."""
        self._ticked_ms = now_ms
        self._may_be_told_ms = now_ms
        """The time from which it may be logged."""

    def heard(self, now_ms: int) -> None:
        """Note that another member has answered or asked."""
        self._heard_ms = now_ms

    def tick(self, now_ms: int) -> list[Notice]:
        """Advance the time. Return a notice once the member has been alone for long enough, and one when that ends."""
        # A clock that was set back must not delay the time at which silence counts.
        self._heard_ms = min(self._heard_ms, now_ms)
        self._may_be_told_ms = min(self._may_be_told_ms, now_ms + self._silence_ms)
        if now_ms - self._ticked_ms >= self._silence_ms:
            # The clock was put forward, or the process was paused: the others get as long to be heard as after a start.
            self._may_be_told_ms = now_ms + self._silence_ms
        self._ticked_ms = now_ms
        since_ms = self.since_ms(now_ms)
        if since_ms is None and self._is_told:
            self._is_told = False
            return [Notice("no_longer_alone", {}, is_warning=True)]
        is_due = since_ms is not None and now_ms - since_ms >= self._silence_ms and now_ms >= self._may_be_told_ms
        if is_due and not self._is_told:
            self._is_told = True
            return [Notice("alone", {"consequence": _CONSEQUENCE, "remedy": _REMEDY}, is_warning=True)]
        return []

    @property
    def knows_members(self) -> bool:
        """Whether it knows the members: it has synced `sys` since it started, or there is no member to sync with.
        Before that, any replica may belong to a member that this one has not heard of yet."""
        if not self._membership.knows_of_others():
            return self._membership.has_looked
        return self._note_sync()

    def has_been_in_touch(self, now_ms: int) -> bool:
        """Return whether others are heard, and have been for so long that they do not take this member for gone."""
        is_heard = now_ms - self._heard_ms < self._silence_ms
        if not self._note_sync() or not is_heard:
            self._in_touch_since_ms = None
            return False
        since_ms = self._in_touch_since_ms
        if since_ms is None or since_ms > now_ms:
            since_ms = self._in_touch_since_ms = now_ms
        return now_ms - since_ms >= self._silence_ms

    def _note_sync(self) -> bool:
        self._has_synced = self._has_synced or any(
            SYSTEM in peer.conversation.synced_at_ms for peer in self._membership.peers()
        )
        return self._has_synced

    def since_ms(self, now_ms: int) -> int | None:
        """Return when another member was last heard, or when this one began; None while it is not alone."""
        if not self._membership.knows_of_others():
            return None
        if self._note_sync() and now_ms - self._heard_ms < self._silence_ms:
            return None
        return min(self._heard_ms, now_ms)


_CONSEQUENCE = "its answers may be old, and what it acknowledges is on this disk alone until it reaches another member"
_REMEDY = "look at the network and at discovery; for a member that is gone for good: gossipkv members forget MEMBER"
