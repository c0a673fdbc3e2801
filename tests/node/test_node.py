from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from unittest.mock import patch

import pytest

from gossipkv.codec import PROTOCOL_VERSION, encode
from gossipkv.core.model.address import USER, address_of
from gossipkv.core.model.write import NotMatched, Operation, StoredWrite
from gossipkv.core.protocol.messages import Envelope
from gossipkv.core.store.storage import StorageError, StorageFailedError, StorageFullError
from gossipkv.member.batches import Frame, StoppedError
from gossipkv.member.driver import InboxFullError
from gossipkv.member.node import MemberNode, NodeOptions
from gossipkv.storage.memory import MemoryTransaction
from tests.node.conftest import LocalCluster, eventually, fingerprints, get, put


async def are_equal(*nodes: MemberNode) -> bool:
    return len(await fingerprints(*nodes)) == 1


def failed_commits(cluster: LocalCluster, member: str) -> float:
    value = cluster.metrics[member].registry.get_sample_value("gossipkv_commits_total", {"result": "failed"})
    assert value is not None
    return value


async def test_a_write_on_one_member_is_read_on_all(cluster: LocalCluster) -> None:
    a = await cluster.start("a")
    b = await cluster.start("b", ("a",))
    c = await cluster.start("c", ("b",))
    await asyncio.gather(a.wait_ready(), b.wait_ready(), c.wait_ready())

    await put(a, "row", b"value")

    async def is_everywhere() -> bool:
        return all(get(node, "row") == b"value" for node in (a, b, c))

    await eventually(is_everywhere)
    await eventually(lambda: are_equal(a, b, c))


async def test_members_learn_of_each_other_through_a_third(cluster: LocalCluster) -> None:
    a = await cluster.start("a")
    b = await cluster.start("b", ("a",))
    c = await cluster.start("c", ("a",))

    async def all_know_all() -> bool:
        known = [[member.member for member in (await node.status()).members] for node in (a, b, c)]
        return known == [["a", "b", "c"]] * 3

    await eventually(all_know_all)


async def test_a_member_that_no_one_answers_becomes_ready_alone(cluster: LocalCluster) -> None:
    node = await cluster.start("a", ("nobody",))
    assert not node.is_ready
    await asyncio.wait_for(node.wait_ready(), 10)
    assert isinstance(await put(node, "row", b"value"), StoredWrite)


async def test_a_member_answers_reads_and_writes_before_it_is_ready(cluster: LocalCluster) -> None:
    node = await cluster.start("a", ("nobody",), bootstrap_timeout_ms=3_600_000)
    await put(node, "row", b"value")
    assert get(node, "row") == b"value"
    assert not node.is_ready


async def test_a_stopped_member_refuses_writes_and_has_said_that_it_left(cluster: LocalCluster) -> None:
    a = await cluster.start("a")
    b = await cluster.start("b", ("a",))
    await asyncio.gather(a.wait_ready(), b.wait_ready())
    await put(b, "last", b"words")

    await b.stop()

    with pytest.raises(StoppedError):
        await put(b, "late", b"x")
    assert get(a, "last") == b"words"
    left = {member.member: member.status for member in (await a.status()).members}
    assert left == {"a": "alive", "b": "left"}


async def test_a_member_that_left_returns_with_what_it_missed(cluster: LocalCluster) -> None:
    a = await cluster.start("a")
    b = await cluster.start("b", ("a",))
    await asyncio.gather(a.wait_ready(), b.wait_ready())
    before = b.identity
    await b.stop()
    await put(a, "meanwhile", b"x")

    b = await cluster.start("b", ("a",))

    await eventually(lambda: are_equal(a, b))
    assert get(b, "meanwhile") == b"x"
    assert b.identity.replica == before.replica
    assert b.identity.incarnation > before.incarnation

    async def is_seen_alive() -> bool:
        return {member.status for member in (await a.status()).members} == {"alive"}

    await eventually(is_seen_alive)


async def test_a_member_that_lost_its_disk_returns_as_a_new_replica_and_fills_up(cluster: LocalCluster) -> None:
    a = await cluster.start("a")
    b = await cluster.start("b", ("a",))
    await asyncio.gather(a.wait_ready(), b.wait_ready())
    await a.write(USER, [Operation(address_of("t", b"%d" % row), b"x" * 100) for row in range(2_000)])
    await put(b, "of-b", b"kept")
    await eventually(lambda: are_equal(a, b))
    before = b.identity
    await b.stop()
    del cluster.storages["b"]

    b = await cluster.start("b", ("a",), part_bytes=4_096)

    await eventually(lambda: are_equal(a, b))
    assert b.identity.replica != before.replica
    assert get(b, "of-b") == b"kept"
    await put(b, "of-b", b"and goes on")

    async def is_on_a() -> bool:
        return get(a, "of-b") == b"and goes on"

    await eventually(is_on_a)


async def test_a_partitioned_pair_takes_writes_on_both_sides_and_is_equal_after_healing(cluster: LocalCluster) -> None:
    a = await cluster.start("a")
    b = await cluster.start("b", ("a",))
    await asyncio.gather(a.wait_ready(), b.wait_ready())
    cluster.network.exchange_timeout_ms = 50
    cluster.network.faults.partition({"memory://a"}, {"memory://b"})
    await put(a, "both", b"of a")
    await put(b, "both", b"of b")
    await put(a, "only-a", b"1")
    await put(b, "only-b", b"2")
    assert not await are_equal(a, b)

    cluster.network.faults.heal()

    await eventually(lambda: are_equal(a, b))
    assert get(a, "both") == get(b, "both")
    assert (get(b, "only-a"), get(a, "only-b")) == (b"1", b"2")


async def test_more_writes_than_the_inbox_holds_are_refused_and_change_nothing(cluster: LocalCluster) -> None:
    node = await cluster.start("a", node_options=NodeOptions(inbox_operations_max=10))
    operations = [Operation(address_of("t", b"%d" % row), b"x") for row in range(11)]
    with pytest.raises(InboxFullError):
        await node.write(USER, operations)
    assert get(node, "0") is None
    text = cluster.metrics["a"].render(await node.status()).decode()
    assert 'gossipkv_intake_limit{bound="inbox_operations_max"} 10.0' in text
    assert 'gossipkv_intake_refused_total{cause="inbox_operations_max"} 1.0' in text
    assert len(await node.write(USER, operations[:10])) == 10


async def test_longer_values_than_the_inbox_holds_are_refused_until_others_are_durable(cluster: LocalCluster) -> None:
    node = await cluster.start("a", node_options=NodeOptions(inbox_bytes_max=1000))
    large = [Operation(address_of("t", b"row"), bytes(600))]
    writes = [node.write(USER, large), node.write(USER, large)]
    first, second = await asyncio.gather(*writes, return_exceptions=True)
    assert isinstance(first, list)
    assert isinstance(second, InboxFullError)
    assert (node._inbox.values.used, node._inbox.values.refusals.total) == (0, 1)
    assert len(await node.write(USER, large)) == 1


async def test_a_full_storage_refuses_the_write_and_goes_on_reading(cluster: LocalCluster) -> None:
    node = await cluster.start("a")
    await put(node, "row", b"before")
    # A write that did not fit is tried again by itself, so the storage has to stay full.
    with patch.object(MemoryTransaction, "put_row", side_effect=StorageFullError("no room")):
        with pytest.raises(StorageFullError):
            await node.write(USER, [Operation(address_of("t", b"row"), b"lost")])
        assert get(node, "row") == b"before"
    assert isinstance(await put(node, "row", b"after"), StoredWrite)
    assert get(node, "row") == b"after"


async def test_a_failed_volume_takes_no_more_writes_and_goes_on_reading(cluster: LocalCluster) -> None:
    node = await cluster.start("a")
    await put(node, "row", b"before")
    cluster.storages["a"].fail_next_commit(StorageFailedError("EIO"))
    for _ in range(2):
        with pytest.raises(StorageFailedError):
            await put(node, "row", b"lost")
    assert get(node, "row") == b"before"
    assert failed_commits(cluster, "a") >= 2


async def test_writes_that_fail_together_are_reported_to_each_and_nothing_of_them_stands(
    cluster: LocalCluster,
) -> None:
    node = await cluster.start("a")
    cluster.storages["a"].fail_next_commit(StorageError("a bad day"), table="t")
    outcomes = await asyncio.gather(*(put(node, f"{row}", b"x") for row in range(20)), return_exceptions=True)
    failed = [row for row, outcome in enumerate(outcomes) if isinstance(outcome, StorageError)]
    assert failed, "the failing commit held at least one write"
    for row, outcome in enumerate(outcomes):
        assert (get(node, f"{row}") is None) == (row in failed), outcome


async def test_concurrent_conditional_creates_have_one_winner(cluster: LocalCluster) -> None:
    node = await cluster.start("a")
    create = [Operation(address_of("t", b"lock"), b"%d" % client, if_absent=True) for client in range(10)]
    results = [result for [result] in await asyncio.gather(*(node.write(USER, [one]) for one in create))]
    winners = [client for client, result in enumerate(results) if isinstance(result, StoredWrite)]
    assert len(winners) == 1
    assert all(isinstance(result, NotMatched) for client, result in enumerate(results) if client not in winners)
    assert get(node, "lock") == b"%d" % winners[0]


async def test_a_hostile_frame_is_refused_and_gossip_goes_on(cluster: LocalCluster) -> None:
    a = await cluster.start("a")
    stranger = cluster.transport("stranger")
    await stranger.start(lambda frame: asyncio.sleep(0, frame))
    for frame in (b"", b"\xc1", bytes([PROTOCOL_VERSION]) + b"\xdd\xff\xff\xff\xff", bytes(1000)):
        with pytest.raises(Exception, match=r".+"):
            await stranger.exchange("memory://a", frame)
    await stranger.close()
    text = cluster.metrics["a"].render(await a.status()).decode()
    assert 'gossipkv_frames_refused_total{reason="malformed"} 2.0' in text
    assert 'gossipkv_frames_refused_total{reason="protocol"} 2.0' in text
    b = await cluster.start("b", ("a",))
    await put(b, "row", b"value")

    async def is_on_a() -> bool:
        return get(a, "row") == b"value"

    await eventually(is_on_a)


async def test_more_bytes_of_frames_than_the_inbox_holds_are_refused(cluster: LocalCluster) -> None:
    node = await cluster.start("a", node_options=NodeOptions(inbox_frames_bytes_max=100_000))
    outcomes = await asyncio.gather(*[node._serve(bytes(60_000)) for _ in range(5)], return_exceptions=True)
    refused = [str(outcome) for outcome in outcomes]
    assert refused.count("too many frames wait to be answered") == 4
    assert "protocol 0" in refused[0]
    assert node._inbox.frames.used == 0


async def test_a_refusal_keeps_nothing_of_what_was_decoded() -> None:
    envelope = encode(Envelope("another", "m", 1, 1, 1, ()))
    async with AsyncExitStack() as stack:
        node = await LocalCluster(stack).start("a")
        outcomes = [await node._committer.ask(Frame(frame)) for frame in (envelope, bytes(10), envelope[:-1])]
    assert len(outcomes) == 3
    for outcome in outcomes:
        assert isinstance(outcome, Exception)
        assert (outcome.__traceback__, outcome.__context__, outcome.__cause__) == (None, None, None)


async def test_members_of_another_cluster_are_refused(cluster: LocalCluster) -> None:
    ours = await cluster.start("a")
    theirs = await cluster.start("b", ("a",), cluster="another")
    await put(theirs, "row", b"value")

    async def has_been_refused() -> bool:
        return (await ours.status()).tally.envelopes_refused["other_cluster"] > 0

    await eventually(has_been_refused)
    assert get(ours, "row") is None
    assert [member.member for member in (await ours.status()).members] == ["a"]
    # A stranger's message is no failure of the storage.
    assert failed_commits(cluster, "a") == 0


async def test_metrics_tell_of_rows_rounds_and_peers(cluster: LocalCluster) -> None:
    a = await cluster.start("a")
    b = await cluster.start("b", ("a",))
    await asyncio.gather(a.wait_ready(), b.wait_ready())
    await put(b, "row", b"value")
    await eventually(lambda: are_equal(a, b))
    text = cluster.metrics["a"].render(await a.status()).decode()
    assert 'gossipkv_rows{shard="usr"} 1.0' in text
    assert 'gossipkv_peer_rows_behind{peer="b",shard="usr"}' in text
    assert 'gossipkv_sync_rounds_total{result="in_sync"}' in text
    assert 'gossipkv_replication_delay_seconds_count{origin="b"} ' in text
    assert 'gossipkv_members{status="alive"} 2.0' in text
    assert 'gossipkv_peer_alive{peer="b"} 1.0' in text
    assert 'gossipkv_member_info{cluster_name="gossipkv",member="a",version="",zone=""} 1.0' in text
    status = await a.status()
    own = next(member for member in status.members if member.is_self)
    fingerprint = own.shards[USER].fingerprint
    assert fingerprint
    shown = next(line for line in text.splitlines() if line.startswith('gossipkv_fingerprint{shard="usr"} '))
    assert int(float(shown.split()[1])) == fingerprint % 2**48


async def test_what_may_be_counted_later_is_counted_from_zero_on(cluster: LocalCluster) -> None:
    a = await cluster.start("a")
    text = cluster.metrics["a"].render(await a.status()).decode()
    for series in (
        'commits_total{result="failed"}',
        'rows_refused_total{reason="clock_skew"}',
        'rows_refused_total{reason="inconsistent"}',
        'rows_refused_total{reason="undecodable"}',
        'rows_refused_total{reason="value_too_large"}',
        'envelopes_refused_total{reason="name_taken"}',
        'envelopes_refused_total{reason="other_cluster"}',
        'exchange_failures_total{fault="timeout"}',
        'frames_refused_total{reason="malformed"}',
        'loop_restarts_total{loop="discovery"}',
        'loop_restarts_total{loop="tick"}',
    ):
        assert f"gossipkv_{series} 0.0" in text
