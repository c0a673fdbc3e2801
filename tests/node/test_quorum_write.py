"""What a write that asks for several copies waits for, and when it is tried again."""

from __future__ import annotations

import itertools

import pytest

from gossipkv.core.inputs import Await
from gossipkv.core.model.address import USER, address_of
from gossipkv.core.model.causality import Context, Dot
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.core.model.write import NotMatched, Operation, StoredWrite
from gossipkv.core.store.storage import StorageError
from gossipkv.core.waits.answers import Reach, Receipt
from gossipkv.member.quorum_write import QuorumWrite

FIRST, SECOND, THIRD = (address_of("t", key) for key in (b"first", b"second", b"third"))
WRITING = QuorumWrite(USER, tuple(Operation(each, b"value") for each in (FIRST, SECOND, THIRD)), 3, 5_000)


def stored(sequence: int) -> StoredWrite:
    version = Version(Dot(7, sequence), 1_000, b"value")
    return StoredWrite(version.dot, "etag", existed=False, row=StoredRow((version,), Context({7: sequence})))


def test_a_write_of_which_nothing_is_stored_waits_for_members() -> None:
    assert WRITING.wait_after(Reach(3, 1), itertools.count(4)) == Await(4, 3, deadline_ms=5_000)


def test_a_write_that_is_stored_waits_for_copies_of_its_last_part_and_hands_over_each() -> None:
    waiting = WRITING.wait_after([stored(8), NotMatched(None), stored(9)], itertools.count(4))
    assert waiting == Await(4, 3, Receipt(USER, Dot(7, 9)), {FIRST: Dot(7, 8), THIRD: Dot(7, 9)}, 5_000)


@pytest.mark.parametrize("outcome", [StorageError("a bad day"), [NotMatched(None)] * 3])
def test_a_write_that_has_written_nothing_waits_for_nothing(outcome: Exception | list[NotMatched]) -> None:
    tickets = itertools.count(4)
    assert WRITING.wait_after(outcome, tickets) is None  # type: ignore[arg-type]
    assert next(tickets) == 4


def test_a_write_is_tried_again_once_enough_members_are_alive() -> None:
    reached = [Reach(3, 3), Reach(3, 2), None]
    assert [WRITING.is_to_be_tried_again(each) for each in reached] == [True, False, False]
