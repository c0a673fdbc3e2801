"""Replicas that are gone are retired in the end. Messages and records grow with the number of members only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from gossipkv.core.model.address import MEMBERS_TABLE, NAMESPACES, SYSTEM, table_of
from gossipkv.core.model.causality import ReplicaId
from gossipkv.core.model.member import MemberRecord
from gossipkv.simulation.checkers.checker import Checker
from gossipkv.simulation.checkers.history import History
from gossipkv.simulation.checkers.rows.derived import stored_rows
from gossipkv.simulation.world.host import Host


class RetirementsChecker(Checker):
    """The checker that replicas that are gone are retired."""

    name = "retirements"

    def __init__(self, history: History) -> None:
        super().__init__(history)
        self.is_blocked = False
        """Whether a member is gone and has not been forgotten, or a stranger has invented replicas."""

    def ended(self, hosts: Sequence[Host]) -> None:
        """Check that no member still names a replica that is gone, unless retirement is blocked."""
        for host in [] if self.is_blocked else hosts:
            left = list(lingering(host))
            self.require(not left, host.name, "goes on naming", left, "which are gone")


def lingering(host: Host) -> Iterator[ReplicaId]:
    """Iterate over replicas that are gone and that the host still names in its messages. Rows that run ahead of a lost
    disk are adopted, and then the replica retires. But if no member has heard of the replica as a member, its rows wait
    for it."""
    process = host.process
    assert process is not None
    named = {host.disk.replica}
    for address, row in stored_rows(host, SYSTEM).items():
        if table_of(address) == MEMBERS_TABLE and row.winner.value is not None:
            with suppress(ValueError):
                named.add(MemberRecord.from_json(row.winner.value).replica)
    shards = process.replica.shards
    members = host.disk.context(SYSTEM)
    for name in NAMESPACES:
        for origin in sorted(set(shards[name].unsettled()) - named):
            if origin in members or not any(_runs_ahead(host, each, origin) for each in NAMESPACES):
                yield origin


def _runs_ahead(host: Host, shard: str, origin: ReplicaId) -> bool:
    with host.disk.view() as view:
        return next(view.journal(shard, origin, host.disk.context(shard).get(origin, 0)), None) is not None
