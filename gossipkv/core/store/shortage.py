"""A member's report on a shortage of room: since when, how much is used, what waits, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gossipkv.core.model.room import Room, Usage
from gossipkv.core.model.tally import Notice
from gossipkv.core.store.storage import StorageError, StorageFailedError, StorageFullError

AMPLE_ROOM = Room.AMPLE.name.lower()
OUTAGE_QUIET_MS = 10_000
REMEDY = "enlarge the volumes of all members (and storage_bytes_max), or delete rows"


class Wait(NamedTuple):
    """A wait for rows of a shard that did not fit."""

    peer: str
    shard: str
    is_here: bool
    """Whether they come from the peer and did not fit here. Otherwise they go to the peer and did not fit there."""


@dataclass(frozen=True, slots=True)
class RoomStatus:
    """A member's report on its room."""

    room: str
    """The level. `ample`; `scarce`: puts of clients are refused; `spent`: rows with values from other members are
    refused too."""
    since_ms: int
    """The time since this level was reached."""
    used_bytes: int
    capacity_bytes: int
    crowded: tuple[str, ...]
    """Other members that report a shortage of room; puts are refused while there are any."""
    waiting: tuple[str, ...]
    """Members with which rows are not exchanged at present, because they did not fit on one side."""


class Shortage:
    """The shortage of one member. It is logged once when it begins, when it gets worse, and when it ends."""

    def __init__(self, now_ms: int) -> None:
        self.usage = Usage(0, 0)
        self._told = self._told_before = Room.AMPLE
        self._told_crowded = self._told_crowded_before = False
        self._since_ms = self._since_ms_before = now_ms
        self._told_waits: list[Wait] = []
        self._told_waits_before: list[Wait] = []

    def tell(self, room: Room, crowded: Sequence[str], waits: list[Wait], now_ms: int) -> list[Notice]:
        """Return the notices since the last call. If the batch is committed, `note_told` must follow; otherwise
        `retract` takes them back."""
        notices: list[Notice] = []
        if room is not self._told:
            self._told, self._since_ms = room, now_ms
            used = f"{self.usage.share:.0%} of {self.usage.capacity_bytes:,} bytes"
            if room is Room.AMPLE:
                notices.append(Notice("storage_has_room_again", {"used": used}, is_warning=True))
            else:
                about = {"used": used, "consequence": _CONSEQUENCES[room], "remedy": REMEDY}
                notices.append(Notice("storage_short_of_room", {**about}, is_warning=True))
        if bool(crowded) is not self._told_crowded:
            self._told_crowded = bool(crowded)
            if crowded:
                about = {"peers": ", ".join(crowded), "consequence": _CONSEQUENCES[Room.SCARCE], "remedy": REMEDY}
                notices.append(Notice("peers_short_of_room", {**about}, is_warning=True))
            else:
                notices.append(Notice("peers_have_room_again", {}, is_warning=True))
        if waits != self._told_waits:
            begun = [wait for wait in waits if wait not in self._told_waits]
            ended = [wait for wait in self._told_waits if wait not in waits]
            notices += [_waiting("rows_do_not_fit", wait, consequence=_TRIED_AGAIN, remedy=REMEDY) for wait in begun]
            notices += [_waiting("rows_fit_again", wait) for wait in ended]
            self._told_waits = waits
        return notices

    def note_told(self) -> None:
        """Note that the notices have been logged: no later batch that fails takes them back."""
        self._told_before, self._told_crowded_before = self._told, self._told_crowded
        self._since_ms_before, self._told_waits_before = self._since_ms, self._told_waits

    def retract(self) -> None:
        """Take back the notices since the last `note_told`, because their batch failed."""
        self._told, self._told_crowded = self._told_before, self._told_crowded_before
        self._since_ms, self._told_waits = self._since_ms_before, self._told_waits_before

    def reason(self, room: Room, crowded: Sequence[str]) -> str:
        """Return why a put is refused and what to do next."""
        if room is Room.AMPLE and crowded:
            return f"{', '.join(crowded)} has no room for more rows, and every member holds all rows: {REMEDY}"
        return f"the storage of this member has no room for it ({self.usage.share:.0%} is used): {REMEDY}"

    def status(self, crowded: Sequence[str], waits: Sequence[Wait], now_ms: int) -> RoomStatus:
        """Return the report on the level last told."""
        return RoomStatus(
            room=self._told.name.lower(),
            since_ms=max(0, now_ms - self._since_ms),
            used_bytes=self.usage.used_bytes,
            capacity_bytes=self.usage.capacity_bytes,
            crowded=tuple(crowded),
            waiting=tuple(sorted({wait.peer for wait in waits})),
        )


class Outage:
    """The time in which commits of one member fail. It is logged once when it begins and once when it ends. It ends
    when a commit has succeeded and none has failed for `OUTAGE_QUIET_MS`: a full volume may still have room for a small
    commit."""

    def __init__(self) -> None:
        self._kind: type[StorageError] | None = None
        self._failed_ms = 0

    @property
    def is_under_way(self) -> bool:
        """Whether commits fail at present."""
        return self._kind is not None

    def failed(self, error: StorageError, now_ms: int) -> list[Notice]:
        """Note that a commit has failed for good; return the notice if that is new."""
        self._failed_ms = now_ms
        kind = StorageFailedError if isinstance(error, StorageFailedError) else StorageFullError
        if not isinstance(error, kind) or kind is self._kind:
            return []
        self._kind = kind
        fields: dict[str, object] = {"reason": str(error), **_OUTAGES[kind]}
        return [Notice("storage_takes_no_writes", fields, is_warning=True)]

    def succeeded(self, now_ms: int) -> list[Notice]:
        """Note that a commit has made something durable; return the notice if that ends the outage."""
        self._failed_ms = min(self._failed_ms, now_ms)
        if self._kind is None or now_ms - self._failed_ms < OUTAGE_QUIET_MS:
            return []
        self._kind = None
        return [Notice("storage_takes_writes_again", {}, is_warning=True)]


def _waiting(event: str, wait: Wait, **more: object) -> Notice:
    where = "here" if wait.is_here else "at the peer"
    return Notice(event, {"peer": wait.peer, "shard": wait.shard, "where": where, **more}, is_warning=True)


_OUTAGES: dict[type[StorageError], dict[str, object]] = {
    StorageFullError: {
        "consequence": "writes that do not fit are answered 507, and nothing of them is stored; reads go on",
        "remedy": REMEDY,
    },
    StorageFailedError: {
        "consequence": "no more writes are taken, and they are answered 507; reads go on",
        "remedy": "restart the member; if it happens again, replace the volume",
    },
}
_TRIED_AGAIN = "they are tried again, less often each time; comparisons, and rows that fit, go on"
_CONSEQUENCES = {
    Room.SCARCE: "puts are refused with 507 at every member; reads, deletes and gossip go on",
    Room.SPENT: "rows with values from other members wait as well; reads and deletes go on",
}
