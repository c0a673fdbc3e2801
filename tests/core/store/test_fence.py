"""What a replica that is fenced knows of the copies that others have of its writes."""

from __future__ import annotations

from gossipkv.core.model.address import USER, address_of
from gossipkv.core.model.write import Operation
from gossipkv.core.store.fence import FORGOTTEN
from tests.core.upkeep.test_collection import ROW, clustered, forgetting_c, live, start

FRESH = address_of("table", b"fresh")


def test_a_member_that_is_not_fenced_has_no_fence() -> None:
    cluster = clustered("a", "b")
    assert [member.fence for member in cluster.members.values()] == [None, None]


def test_a_forgotten_replica_knows_which_of_its_writes_others_have() -> None:
    cluster = clustered("a", "b", "c")
    cluster.write("c", Operation(ROW, b"value"))
    cluster.settle()
    storage = cluster.members["c"].storage
    forgetting_c(cluster)
    cluster.settle()
    returned = start(cluster, "c", storage)
    cluster.write("c", Operation(FRESH, b"value"))
    cluster.introduce("a", "b", "c")
    live(cluster, 10)
    fence = returned.fence
    assert fence is not None
    assert (fence.reason, fence.ambiguous_after) == (FORGOTTEN, {})
    rows = returned.rows()
    assert fence.covered[USER].covers(rows[ROW].winner.dot)
    assert not fence.covered[USER].covers(rows[FRESH].winner.dot)
