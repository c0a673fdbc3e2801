"""What is asked of a large row, and what need not be."""

from __future__ import annotations

from gossipkv.core.model.address import USER, address_of
from gossipkv.core.model.causality import Context, Dot
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.core.protocol.messages import FetchValue, RowCopy, ValuePart
from gossipkv.core.protocol.parcel import outlined
from gossipkv.core.transfer.fetch import Fetching
from tests.core.disks import Disk

ROW = address_of("t", b"large")
OLD = Version(Dot(2, 1), 10, b"old", None, 0)
NEW = Version(Dot(2, 2), 20, b"new", None, 0)


def named(*versions: Version, covered: int) -> StoredRow:
    return StoredRow(versions, Context({2: covered}))


def test_a_value_of_a_row_that_was_named_again_without_it_is_no_longer_asked_for() -> None:
    fetching = Fetching()
    fetching.want([outlined(ROW, named(OLD, covered=1))])
    with Disk(1).storage.view() as view:
        assert fetching.assembled(view, USER) is None
    asked = fetching.asked
    assert isinstance(asked, FetchValue)
    fetching.want([outlined(ROW, named(NEW, covered=2))])
    assert fetching.asked is None
    assert fetching.take(ValuePart(USER, ROW, OLD.dot, 0, b"old")) is None, "it answers nothing that is asked"


def test_a_row_that_is_named_again_with_the_value_that_is_asked_for_goes_on() -> None:
    fetching = Fetching()
    for _ in range(2):
        fetching.want([outlined(ROW, named(NEW, covered=2))])
        with Disk(1).storage.view() as view:
            fetching.assembled(view, USER)
        assert fetching.asked is not None
    fetching.want([outlined(ROW, named(NEW, covered=2))])
    assert fetching.asked is not None


def test_a_value_that_has_been_superseded_here_is_not_fetched() -> None:
    disk = Disk(1)
    disk.take_in([RowCopy(ROW, named(NEW, covered=2))])
    fetching = Fetching()
    fetching.want([outlined(ROW, named(OLD, covered=1))])
    with disk.storage.view() as view:
        copy = fetching.assembled(view, USER)
    assert isinstance(copy, RowCopy)
    assert copy.row.versions == (OLD._replace(value=b""),)
    assert fetching.is_finished
