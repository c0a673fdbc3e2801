"""When a message shows that names of this replica stand for other writes elsewhere."""

from __future__ import annotations

import pytest

from gossipkv.core.model.address import SYSTEM, USER, address_of
from gossipkv.core.model.causality import Context, Dot
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.core.model.write import Operation
from gossipkv.core.protocol.messages import Covered, Delta, Envelope, Message, Pull, Range, RowCopy, WalkRows
from gossipkv.core.protocol.names import Names, latest_names
from tests.core.cluster import Cluster

HERE, ELSEWHERE = address_of("table", b"here"), address_of("table", b"elsewhere")
OWN = 1


class Named:
    """Member a, replica 1, which has told others of two writes, of which the first is certain."""

    def __init__(self) -> None:
        cluster = Cluster()
        self.member = cluster.start("a")
        cluster.write("a", Operation(HERE, b"one"))
        cluster.write("a", Operation(HERE, b"two"))
        self.shard = self.member.driver.replica.shards[USER]
        self.shard.tells_all, self.shard.names = False, Names(2, 1)

    def is_in_doubt(self, *messages: Message) -> bool:
        envelope = Envelope("test", "b", 7, 0, 0, messages)
        with self.member.storage.view() as view:
            return self.member.driver.replica._gossip.speaks_of_unknown_names(view, envelope)


@pytest.fixture
def named() -> Named:
    return Named()


def row(sequence: int) -> StoredRow:
    return StoredRow((Version(Dot(OWN, sequence), 1, b"value"),), Context({OWN: sequence}))


def test_a_later_name_than_was_told_is_in_doubt_whatever_mentions_it(named: Named) -> None:
    for sequence, is_in_doubt in ((2, False), (3, True)):
        assert named.is_in_doubt(Covered(USER, Context({OWN: sequence}))) is is_in_doubt
        assert named.is_in_doubt(Pull(USER, Context({OWN: sequence}))) is is_in_doubt
        assert named.is_in_doubt(Delta(USER, {OWN: Range(0, sequence)}, ())) is is_in_doubt


@pytest.mark.parametrize("kind", [Delta, WalkRows])
def test_a_row_that_names_a_write_which_stands_elsewhere_here_is_in_doubt(named: Named, kind: type) -> None:
    def message(address: bytes, sequence: int) -> Message:
        copies = (RowCopy(address, row(sequence)),)
        return Delta(USER, {}, copies) if kind is Delta else WalkRows(USER, copies, None)

    assert named.is_in_doubt(message(ELSEWHERE, 2))
    assert not named.is_in_doubt(message(HERE, 2)), "it is the write that was made"
    assert not named.is_in_doubt(message(ELSEWHERE, 1)), "the name is certain"
    named.shard.floors[OWN] = 2
    assert not named.is_in_doubt(message(ELSEWHERE, 2)), "the row may have been collected"


def test_the_greatest_name_of_any_message_counts_per_shard() -> None:
    messages = (
        Covered(USER, Context({OWN: 4, 9: 99})),
        Delta(USER, {OWN: Range(0, 5), 9: Range(0, 99)}, (RowCopy(HERE, row(7)),)),
        Pull(SYSTEM, Context({OWN: 3})),
        Covered(USER, Context()),
    )
    assert latest_names(Envelope("test", "b", 7, 0, 0, messages), OWN) == {USER: 7, SYSTEM: 3}
