"""A member that exists is never let go, however long it is silent. A member that no longer exists is let go in the
end."""

from __future__ import annotations

from collections.abc import Sequence

from gossipkv.core.model.member import LEFT
from gossipkv.simulation.checkers.checker import Checker
from gossipkv.simulation.world.host import Host


class LettingGoChecker(Checker):
    """The checker that exactly the members that no longer exist are let go."""

    name = "letting_go"

    def examined(self, host: Host) -> None:
        """Check that the member has let go only of members that discovery does not list."""
        process = host.process
        assert process is not None
        for peer in process.replica.peers:
            is_gone = process.existing is not None and peer.member not in process.existing
            self.require(is_gone or not peer.is_let_go, host.name, "has let go of", peer.member, "which exists")

    def ended(self, hosts: Sequence[Host]) -> None:
        """Check that every peer that discovery does not list counts as left."""
        for host in hosts:
            process = host.process
            assert process is not None
            for peer in process.replica.peers:
                is_gone = process.existing and peer.member is not None and peer.member not in process.existing
                self.require(not is_gone or peer.status == LEFT, host.name, "clings to", peer.member, "which is gone")
