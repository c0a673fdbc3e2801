"""A member's report on a shortage of room: since when, how much is used, what waits, what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gossipkv.core.effects import Notice
from gossipkv.core.room import Room, Usage

AMPLE_ROOM = Room.AMPLE.name.lower()
REMEDY = "enlarge the volumes of all members (and storage_bytes_max), or delete rows"


class Wait(NamedTuple):
    """Rows of a shard that wait because they did not fit."""

    peer: str
    shard: str
    is_here: bool
    """Whether they come from the peer and did not fit here. Otherwise they go to the peer, and did not fit there."""


@dataclass(frozen=True, slots=True)
class RoomStatus:
    """A member's report on its room."""

    room: str
    """`ample`; `scarce`: puts of clients are refused; `spent`: rows with values from other members, too."""
    since_ms: int
    """How long it has been at this level."""
    used_bytes: int
    capacity_bytes: int
    crowded: tuple[str, ...]
    """Other members that report a shortage of room; puts are refused as long as there are any."""
    waiting: tuple[str, ...]
    """Members with which rows are not exchanged at the moment, because they did not fit on one side."""


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
        """The notices since the last call. `note_told` must follow if the batch was committed; if it was not, `retract`
        takes them back."""
        notices: list[Notice] = []
        if room is not self._told:
            self._told, self._since_ms = room, now_ms
            used = f"{self.usage.share:.0%} of {self.usage.capacity_bytes:,} bytes"
            if room is Room.AMPLE:
                notices.append(Notice("storage_has_room_again", {"used": used}))
            else:
                about = {"used": used, "consequence": _CONSEQUENCES[room], "remedy": REMEDY}
                notices.append(Notice("storage_short_of_room", {**about}))
        if bool(crowded) is not self._told_crowded:
            self._told_crowded = bool(crowded)
            if crowded:
                about = {"peers": ", ".join(crowded), "consequence": _CONSEQUENCES[Room.SCARCE], "remedy": REMEDY}
                notices.append(Notice("peers_short_of_room", {**about}))
            else:
                notices.append(Notice("peers_have_room_again", {}))
        if waits != self._told_waits:
            begun = [wait for wait in waits if wait not in self._told_waits]
            ended = [wait for wait in self._told_waits if wait not in waits]
            notices += [_waiting("rows_do_not_fit", wait, consequence=_TRIED_AGAIN) for wait in begun]
            notices += [_waiting("rows_fit_again", wait) for wait in ended]
            self._told_waits = waits
        return notices

    def note_told(self) -> None:
        """The notices have been logged: no later batch that fails takes them back."""
        self._told_before, self._told_crowded_before = self._told, self._told_crowded
        self._since_ms_before, self._told_waits_before = self._since_ms, self._told_waits

    def retract(self) -> None:
        self._told, self._told_crowded = self._told_before, self._told_crowded_before
        self._since_ms, self._told_waits = self._since_ms_before, self._told_waits_before

    def reason(self, room: Room, crowded: Sequence[str]) -> str:
        """Why a put is refused, and what to do next."""
        if room is Room.AMPLE and crowded:
            return f"{', '.join(crowded)} has no room for more rows, and every member holds all rows: {REMEDY}"
        return f"the storage of this member has no room for it ({self.usage.share:.0%} is used): {REMEDY}"

    def status(self, crowded: Sequence[str], waits: Sequence[Wait], now_ms: int) -> RoomStatus:
        return RoomStatus(
            room=self._told.name.lower(),
            since_ms=max(0, now_ms - self._since_ms),
            used_bytes=self.usage.used_bytes,
            capacity_bytes=self.usage.capacity_bytes,
            crowded=tuple(crowded),
            waiting=tuple(sorted({wait.peer for wait in waits})),
        )


def _waiting(event: str, wait: Wait, **more: object) -> Notice:
    where = "here" if wait.is_here else "at the peer"
    return Notice(event, {"peer": wait.peer, "shard": wait.shard, "where": where, **more})


_TRIED_AGAIN = "they are tried again, less often each time; comparisons, and rows that fit, go on"
_CONSEQUENCES = {
    Room.SCARCE: "puts are refused with 507 at every member; reads, deletes and gossip go on",
    Room.SPENT: "rows with values from other members wait as well; reads and deletes go on",
}
