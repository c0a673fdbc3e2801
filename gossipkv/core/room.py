"""How much room a member's storage has left, and what is refused as it runs out.

Rules:

- Puts of clients stop first. The reserve below that point is for rows that other members have acknowledged already: all
  members hold all rows, so a member takes no put either while another one says that it is short of room. The reserve is
  a share, because the same rows take more or less room by their order of arrival (pages are 50 % to 100 % full).
- What members have acknowledged and not yet brought to each other counts as used: what this one is known to lack, and
  what others are known to lack of its own writes, once for each of them, as they may be as far ahead themselves.
- Rows with values from other members stop next. The last reserve is for deletes, for tombstones and for `sys`, which go
  on. It grows with the rows: a deleted row takes an entry in the index of tombstones, and a short value that goes frees
  no page. And it has a least size, because a small volume has as many copies of pages to make as a large one.
- A row that is refused for want of room is not covered, so it comes again once there is room.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

NO_ROOM = "no_room"
"""Why a row or an operation is refused."""

CATCHING_UP = "catching_up"
"""Why a put is refused for the moment: rows that are on their way to all members may take the room that is left."""

_MIB = 2**20


class Room(enum.IntEnum):
    """Each level refuses what the one before it refuses, and more."""

    AMPLE = 0
    SCARCE = 1
    """Puts of clients are refused."""
    SPENT = 2
    """So are rows with values from other members, and deletes of rows that are not here."""
    NONE = 3
    """So is everything that writes: the storage has failed for want of room. Lasts for one input."""


class Usage(NamedTuple):
    """What a storage uses of what it can use."""

    used_bytes: int
    capacity_bytes: int

    @property
    def free_bytes(self) -> int:
        return max(0, self.capacity_bytes - self.used_bytes)

    @property
    def share(self) -> float:
        """0 to 1; at 1 writes fail."""
        return min(1.0, self.used_bytes / self.capacity_bytes) if self.capacity_bytes else 1.0

    def bytes_per_row(self, rows: int) -> int:
        """What each of so many rows takes on average, with all that belongs to it."""
        return self.used_bytes // max(1, rows)


RESERVE_SHARE = 0.05
RESERVE_BYTES_MIN = 2 * _MIB
"""For copies of pages: the greater of the two is never filled with rows."""
DELETE_BYTES = 80
"""What deleting one row takes at first, in pages that are half full."""
ACKNOWLEDGED_SHARE = 0.2
ACKNOWLEDGED_BYTES_MIN = 2 * _MIB
"""For rows that others have acknowledged: the greater of the two is not filled with puts of clients."""
RETURN_SHARE = 0.1
"""A level ends when there is this much more room than where it began, so that it does not come and go."""


class Allowance(NamedTuple):
    """What a transaction may do."""

    room: Room = Room.AMPLE
    rows_max: int = 2**31
    """Rows that upkeep (expiry, collection) may write in it."""
    spare_bytes: int = 2**62
    """Room above the point where puts of clients stop."""


def reserves_of(capacity_bytes: int, rows: int) -> tuple[int, int]:
    """With less room than the first, puts of clients are refused; with less than the second, values of peers."""
    spent = max(int(RESERVE_SHARE * capacity_bytes), RESERVE_BYTES_MIN) + rows * DELETE_BYTES
    return spent + max(int(ACKNOWLEDGED_SHARE * capacity_bytes), ACKNOWLEDGED_BYTES_MIN), spent


def room_of(usage: Usage, rows: int, before: Room) -> Room:
    """The level of a storage with so many visible rows, given the level so far."""
    room = Room.AMPLE
    for level, reserve in zip((Room.SCARCE, Room.SPENT), reserves_of(usage.capacity_bytes, rows), strict=True):
        if usage.free_bytes < reserve * (1 + RETURN_SHARE if before >= level else 1):
            room = level
    return room
