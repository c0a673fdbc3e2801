"""What a member says outside its batches is what it has committed: never a batch under way, never one that failed."""

from __future__ import annotations

from gossipkv.core.model.address import SYSTEM
from gossipkv.core.store.tables import settings_address, settings_in
from gossipkv.simulation.checkers.checker import Checker
from gossipkv.simulation.scenarios.scenario import BESIDE
from gossipkv.simulation.world.host import Host


class SnapshotsChecker(Checker):
    name = "snapshots"

    def asked(self, host: Host) -> None:
        assert host.process is not None, "it is up"
        if host.process.is_ahead_of_snapshot:
            # The snapshot follows when the whole batch is durable.
            return
        snapshot, address = host.process.driver.snapshot, settings_address(BESIDE)
        self.require(
            snapshot.identity.replica == host.disk.replica,
            *(host.name, "says that it is replica", snapshot.identity.replica, "where it is", host.disk.replica),
        )
        if host.disk.is_missing(SYSTEM, address):
            # What it knows of a row that cannot be read may be either.
            return
        settings = settings_in(host.disk.committed_row(SYSTEM, address))
        self.require(
            snapshot.settings.get(BESIDE) == settings,
            *(host.name, "says that a table has", snapshot.settings.get(BESIDE), "where it has", settings),
        )
