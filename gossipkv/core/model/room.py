"""The levels of a member's storage, and what is refused as it fills up.

- Puts of clients stop first. The reserve left at that point is for rows that other members have already acknowledged,
  because all members hold all rows. So a member also takes no put while another member reports that it is short of
  room. The reserve is a share of the capacity: the same rows take more or less room depending on their order of
  arrival. Pages are 50 % to 100 % full.
- Writes that members have acknowledged and not yet exchanged count as used. These are the writes that this member is
  known to lack, and its own writes that others are known to lack. The latter count once per other member, because each
  of these may be as far ahead itself.
- Rows with values from other members stop next. The last reserve is for deletes, tombstones and `sys`, which continue.
  It grows with the number of rows: a deleted row takes an entry in the index of tombstones, and deleting a short value
  frees no page. It also has a minimum, because a small volume needs as many copies of pages as a large one.
- A row that is refused because there is no room is not covered, so it is sent again once there is room.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

NO_ROOM = "no_room"
"""The reason for refusing a row or an operation."""

CATCHING_UP = "catching_up"
"""The reason for refusing a put temporarily: rows on their way to all members may take the remaining room."""

_MIB = 2**20


class Room(enum.IntEnum):
    """The levels of a storage. Each refuses what the previous one refuses, and more."""

    AMPLE = 0
    """Nothing is refused."""
    SCARCE = 1
    """Puts of clients are refused."""
    SPENT = 2
    """Rows with values from other members are refused too, and deletes of rows that this member does not hold."""
    NONE = 3
    """Every write is refused: the storage has failed because it is full. Lasts for one input."""


class Usage(NamedTuple):
    """The usage of a storage."""

    used_bytes: int
    capacity_bytes: int

    @property
    def free_bytes(self) -> int:
        """The bytes that are not used; never below 0."""
        return max(0, self.capacity_bytes - self.used_bytes)

    @property
    def share(self) -> float:
        """The used share, 0 to 1; at 1 writes fail."""
        return min(1.0, self.used_bytes / self.capacity_bytes) if self.capacity_bytes else 1.0

    def bytes_per_row(self, rows: int) -> int:
        """Return the average bytes per row, including all entries that belong to it."""
        return self.used_bytes // max(1, rows)


RESERVE_SHARE = 0.05
RESERVE_BYTES_MIN = 2 * _MIB
"""The reserve for copies of pages, never filled with rows, is the greater of the two."""
DELETE_BYTES = 80
"""The room that deleting one row takes at first, in pages that are half full."""
ACKNOWLEDGED_SHARE = 0.2
ACKNOWLEDGED_BYTES_MIN = 2 * _MIB
"""The reserve for rows that others have acknowledged, never filled with puts of clients, is the greater of the two."""
RETURN_SHARE = 0.1
"""The hysteresis: a level ends when free room exceeds its threshold by this share."""


class Allowance(NamedTuple):
    """The limits of one transaction."""

    room: Room = Room.AMPLE
    rows_max: int = 2**31
    """Maximum number of rows that maintenance (expiry, collection) may write in the transaction."""
    spare_bytes: int = 2**62
    """The room above the point where puts of clients stop."""


def reserves_of(capacity_bytes: int, rows: int) -> tuple[int, int]:
    """Return two thresholds of free room in bytes. Below the first, puts of clients are refused; below the second,
    values of peers too."""
    spent = max(int(RESERVE_SHARE * capacity_bytes), RESERVE_BYTES_MIN) + rows * DELETE_BYTES
    return spent + max(int(ACKNOWLEDGED_SHARE * capacity_bytes), ACKNOWLEDGED_BYTES_MIN), spent


def room_of(usage: Usage, rows: int, before: Room) -> Room:
    """Return the level of a storage with this many visible rows, given the previous level."""
    room = Room.AMPLE
    for level, reserve in zip((Room.SCARCE, Room.SPENT), reserves_of(usage.capacity_bytes, rows), strict=True):
        if usage.free_bytes < reserve * (1 + RETURN_SHARE if before >= level else 1):
            room = level
    return room
