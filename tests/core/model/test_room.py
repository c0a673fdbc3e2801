"""How full a storage is, and what that means."""

from __future__ import annotations

import pytest

from gossipkv.core.model.room import (
    ACKNOWLEDGED_BYTES_MIN,
    DELETE_BYTES,
    RESERVE_BYTES_MIN,
    Room,
    Usage,
    reserves_of,
    room_of,
)

MIB = 2**20


def test_a_row_takes_its_share_of_all_that_is_used() -> None:
    assert Usage(1_000, 10_000).bytes_per_row(3) == 333
    assert Usage(1_000, 10_000).bytes_per_row(1) == 1_000
    assert Usage(1_000, 10_000).bytes_per_row(0) == 1_000, "without rows, what is used says how much one may take"


@pytest.mark.parametrize(
    ("used", "capacity", "free", "share"),
    [(0, 100, 100, 0.0), (25, 100, 75, 0.25), (100, 100, 0, 1.0), (120, 100, 0, 1.0), (0, 0, 0, 1.0)],
)
def test_what_is_free_is_never_less_than_nothing_and_the_share_never_more_than_all(
    used: int, capacity: int, free: int, share: float
) -> None:
    usage = Usage(used, capacity)
    assert (usage.free_bytes, usage.share) == (free, share)


def test_the_reserves_are_shares_of_the_capacity_with_a_least_size_and_room_for_deletes() -> None:
    assert reserves_of(1_000 * MIB, 0) == (250 * MIB, 50 * MIB)
    assert reserves_of(1 * MIB, 0) == (RESERVE_BYTES_MIN + ACKNOWLEDGED_BYTES_MIN, RESERVE_BYTES_MIN)
    scarce, spent = reserves_of(1_000 * MIB, 7)
    assert (scarce - 250 * MIB, spent - 50 * MIB) == (7 * DELETE_BYTES, 7 * DELETE_BYTES)


@pytest.mark.parametrize(
    ("free", "before", "room"),
    [
        (250, Room.AMPLE, Room.AMPLE),
        (249, Room.AMPLE, Room.SCARCE),
        (274, Room.SCARCE, Room.SCARCE),
        (275, Room.SCARCE, Room.AMPLE),
        (275, Room.SPENT, Room.AMPLE),
        (50, Room.SCARCE, Room.SCARCE),
        (49, Room.AMPLE, Room.SPENT),
        (54, Room.SPENT, Room.SPENT),
        (56, Room.SPENT, Room.SCARCE),
        (54, Room.NONE, Room.SPENT),
    ],
)
def test_a_level_begins_below_its_reserve_and_ends_a_tenth_above_it(free: int, before: Room, room: Room) -> None:
    assert room_of(Usage((1_000 - free) * MIB, 1_000 * MIB), 0, before) is room
