"""Memory stays bounded: the inputs that wait at a member, and its exchanges with peers. An inbox counts
what waits there, and nothing more.

And nothing hangs: the driver concludes every exchange that the core waits for.
"""

from __future__ import annotations

from gossipkv.core.inputs import Answered, Failed
from gossipkv.core.protocol.messages import Envelope
from gossipkv.member.batches import Frame
from gossipkv.simulation.checkers.checker import Checker
from gossipkv.simulation.world.host import Host
from gossipkv.simulation.world.process import Process

INBOX_MAX = 150

PROBES_MAX = 60
"""The maximum number of probes under way: the member's own, and those that each other member asked for. If frames are
slow, probes of several periods are under way."""

CONTACTS_DROPPED_MAX = 2
"""The maximum number of exchanges with peers that the core has dropped: contacts that proved to be known members."""


class BoundsChecker(Checker):
    """The checker that memory is bounded and nothing hangs."""

    name = "bounds"

    def leaving(self, host: Host, envelope: Envelope) -> None:  # noqa: ARG002
        """Check the numbers of waiting inputs, exchanges and probes."""
        process = host.process
        assert process is not None
        self.require(len(process.inbox) <= INBOX_MAX, host.name, "has", len(process.inbox), "inputs waiting")
        peers = len(process.replica.peers)
        exchanges = process.driver.exchanges
        gossip = sum(exchange > 0 for exchange in exchanges)
        self.require(
            gossip - len(process.replica.direct_exchanges) <= peers + CONTACTS_DROPPED_MAX,
            host.name, "has", gossip, "exchanges under way with", peers, "peers",
        )  # fmt: skip
        probes = len(exchanges) - gossip
        self.require(probes <= PROBES_MAX, host.name, "has", probes, "probes under way")

    def examined(self, host: Host) -> None:
        """Check that every exchange that the core waits for is under way, or that its end waits in the inbox."""
        process = host.process
        assert process is not None
        if process.is_ending:
            return
        payloads = [job.payload for job in process.inbox]
        concluded = {one.exchange for one in payloads if isinstance(one, Answered | Failed | Frame)}
        self._compare_inbox(host, process)
        for exchange in process.replica.direct_exchanges:
            self.require(
                exchange in process.driver.exchanges or exchange in concluded,
                host.name, "waits for ever for the direct exchange", exchange,
            )  # fmt: skip
        for peer in process.replica.peers:
            self.require(
                peer.exchange is None or peer.exchange in process.driver.exchanges or peer.exchange in concluded,
                host.name, "waits for ever for exchange", peer.exchange, "with", peer.endpoint,
            )  # fmt: skip

    def _compare_inbox(self, host: Host, process: Process) -> None:
        inbox, waiting = process.driver.inbox, process.inbox
        writes = [job for job in waiting if job.operations]
        counted = [inbox.operations.used, inbox.values.used, inbox.frames.used]
        there = [
            sum(job.operations for job in writes),
            sum(job.size_bytes for job in writes),
            sum(job.size_bytes for job in waiting if not job.operations),
        ]
        self.require(counted == there, host.name, "counts", counted, "in its inbox, but there is", there)
