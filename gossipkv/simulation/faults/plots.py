"""What aims need besides the faults of all runs: sequences in which a fault waits for the moment where it matters."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable

from gossipkv.core.inputs import Write
from gossipkv.core.model.address import MEMBERS_TABLE, USER, address_of
from gossipkv.core.model.write import Operation
from gossipkv.simulation.cluster import Cluster
from gossipkv.simulation.scenarios.aims import Aim
from gossipkv.simulation.world.host import Host
from gossipkv.simulation.world.timeline import Timeline

PEEP_MS = 2
"""How often a plot looks whether its moment has come."""
PAUSE_MS_MAX = 120
"""The most that passes between two rounds of a plot."""
BORN_AGAIN_ROWS = 3
ACQUAINTED_MS = 800
"""Time by which members know each other, if nothing prevents that."""
FIRST_CONTACT_MS = 3
"""Time at which members have just begun to speak: none of them is listed at another one yet."""
STARVING_MS_MAX = 700
SLOW_MS_MAX = 60
"""The most that a slow member takes for one thing."""
SLOW_FOR_MS = 900
OLD_MS_MAX = 250
"""The most that a disk is old when it is put back."""


class Plots:
    """The plot of one aim, again and again until all faults end."""

    def __init__(
        self,
        rng: random.Random,
        timeline: Timeline,
        cluster: Cluster,
        note_requests: Callable[[Iterable[Operation]], None],
    ) -> None:
        self.fired: Counter[str] = Counter()
        self._rng = rng
        self._timeline = timeline
        self._cluster = cluster
        self._note_requests = note_requests
        self._is_over = False
        self._written = 0

    def start(self, aim: Aim) -> None:
        """Begin the plot of this aim, if it has one."""
        plots = {
            Aim.WRITTEN_AGAIN: self._write_again,
            Aim.STARVED: self._starve,
            Aim.SLOW_PULLER: self._slow_down,
            Aim.OLD_DISKS: self._set_back,
        }
        if aim in plots:
            self._after(FIRST_CONTACT_MS if aim is Aim.STARVED else ACQUAINTED_MS, plots[aim])

    def stop(self) -> None:
        self._is_over = True

    def _again(self, plot: Callable[[], None]) -> None:
        self._after(self._rng.randint(1, PAUSE_MS_MAX), plot)

    def _after(self, delay_ms: int, act: Callable[[], None]) -> None:
        """Act later, unless all faults are over by then."""
        self._timeline.after(delay_ms, lambda: None if self._is_over else act())

    def _await(self, is_so: Callable[[], bool], act: Callable[[], None]) -> None:
        """Act as soon as it is so."""
        if is_so():
            act()
        else:
            self._after(PEEP_MS, lambda: self._await(is_so, act))

    def _write_again(self) -> None:
        """Write rows, delete them, and write each at another member once one has collected its tombstone."""
        addresses = [address_of("table0", b"born%d" % number) for number in range(BORN_AGAIN_ROWS)]
        self._write(addresses)

        def delete() -> None:
            holding = [host for host in self._cluster.running() if _stand(host, addresses)]
            if holding:
                self._submit(self._rng.choice(holding), [Operation(address, None) for address in addresses])
            self._await(are_collected, write)

        def are_collected() -> bool:
            return any(not any(_stand(host, [each]) for each in addresses) for host in self._cluster.running())

        def write() -> None:
            self.fired["written_again"] += 1
            self._write(addresses)
            self._again(self._write_again)

        self._await(lambda: any(_stand(host, addresses) for host in self._cluster.running()), delete)

    def _write(self, addresses: list[bytes]) -> None:
        running = self._cluster.running()
        if running:
            operations = []
            for address in addresses:
                self._written += 1
                operations.append(Operation(address, b"born again %d" % self._written))
            self._submit(self._rng.choice(running), operations)

    def _submit(self, host: Host, operations: list[Operation]) -> None:
        assert host.process is not None, "the host runs"
        self._note_requests(operations)
        host.process.submit(Write(USER, tuple(operations)))

    def _starve(self) -> None:
        """Let one member take in no row of the members' table for a while."""
        host = self._rng.choice(self._cluster.hosts)
        rows = {address_of(MEMBERS_TABLE, other.name.encode()) for other in self._cluster.hosts}
        host.refuses |= rows
        self.fired["starved"] += 1
        self._cluster.trace.line(host.name, "takes in no row of the members' table")

        def feed() -> None:
            host.refuses -= rows
            self._again(self._starve)

        self._after(self._rng.randint(1, STARVING_MS_MAX), feed)

    def _slow_down(self) -> None:
        """Empty a member, and let it do one thing at a time from then on, with pauses in between, for a while."""
        host = self._rng.choice(self._cluster.hosts)
        if host.is_up:
            self._cluster.stop(host, "goes down")
        self._cluster.lose_disk(host)
        self._cluster.start(host)
        self.fired["slow_puller"] += 1
        until_ms = self._timeline.now_ms + SLOW_FOR_MS

        def hold() -> None:
            process = host.process
            if self._timeline.now_ms >= until_ms:
                self._again(self._slow_down)
                return
            if process is not None and not process.is_paused:
                process.is_paused = True
                self._timeline.after(self._rng.randint(1, SLOW_MS_MAX), process.resume)
            self._after(SLOW_MS_MAX + self._rng.randint(1, 5), hold)

        hold()

    def _set_back(self) -> None:
        """Put back the disk of a member as it was a moment ago."""
        host = self._rng.choice(self._cluster.hosts)
        copy = host.disk.copied()
        disk = host.disk

        def put_back() -> None:
            # A disk that was lost meanwhile is not the one that was copied.
            if host.disk is disk and host.disk.replica == copy.replica:
                if host.is_up:
                    self._cluster.stop(host, "goes down")
                self._cluster.set_back(host, copy)
                self.fired["set_back"] += 1
                self._after(self._rng.randint(1, PAUSE_MS_MAX), lambda: self._cluster.start(host))
            self._again(self._set_back)

        self._after(self._rng.randint(1, OLD_MS_MAX), put_back)


def _stand(host: Host, addresses: list[bytes]) -> bool:
    """Whether the host holds these rows, or their tombstones."""
    return all(host.disk.committed_row(USER, address) is not None for address in addresses)
