"""A new member beside a large store, and a member with a large store that starts again."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

from benchmarks.bench import Bench
from benchmarks.figures import mebibytes, median, seconds
from benchmarks.processes import StepError, ask, free_ports, wait_until
from benchmarks.seeds import ORIGIN
from benchmarks.table import Line, Outcome
from gossipkv.core.model.address import NAMESPACES, USER

JOIN_TITLE = "A new member"
JOIN_METHOD = """\
Two `gossipkv serve` with default settings, each on a core: one holds the rows, the other starts on an empty data
directory. The time runs from the start of its process until both shards' fingerprints are those of the other, asked
every 250 ms."""

RESTART_TITLE = "A restart"
RESTART_METHOD = """\
A member with the rows beside another one with the same rows, killed and started again; its file is in the page cache.
The time runs from the start of the process until `/readyz` answers 200: by then it has completed a sync with the
other. Memory is `RssAnon`, which leaves out the mapped file."""

JOIN_S = 60.0
READY_S = 3.0
MEMORY_BYTES = 200 * 2**20
OTHER = "gossipkv-1"
_JOIN_TIMEOUT_S = 300.0
_READY_TIMEOUT_S = 120.0
_JOIN_POLL_S = 0.25


class _Two:
    """A member that holds the rows and runs, and another that is started when told to."""

    def __init__(self, bench: Bench, directory: Path, rows: int) -> None:
        self._processes = bench.processes
        self._directory = directory
        ports = free_ports(4)
        self.ports = {ORIGIN: ports[0], OTHER: ports[1]}
        self._gossip_ports = {ORIGIN: ports[2], OTHER: ports[3]}
        self._cores = {ORIGIN: bench.processes.cores.server, OTHER: bench.processes.cores.load}
        bench.seeds.copy(rows, directory / ORIGIN)
        process = self.start(ORIGIN)
        bench.processes.wait_for_answer(process, self.ports[ORIGIN], "/livez", _READY_TIMEOUT_S)

    def start(self, name: str) -> subprocess.Popen[bytes]:
        ports = (self.ports[name], self._gossip_ports[name])
        peers = list(self._gossip_ports.values())
        return self._processes.start_member(name, self._directory / name, ports, peers, self._cores[name])

    def shards(self, name: str) -> dict[str, Any]:
        """A member's own account of its shards; empty where it does not answer."""
        status, body = ask(self.ports[name], "/v1/cluster")
        if status != 200:
            return {}
        own = next(member for member in json.loads(body)["members"] if member["self"])
        shards: dict[str, Any] = own["shards"]
        return shards

    def are_equal(self) -> bool:
        ours, theirs = self.shards(OTHER), self.shards(ORIGIN)
        return bool(ours and theirs) and all(ours[s]["fingerprint"] == theirs[s]["fingerprint"] for s in NAMESPACES)

    def check_rows(self, name: str, rows: int) -> None:
        """What is quick because it holds nothing is no measurement. Raises StepError."""
        found = self.shards(name).get(USER, {}).get("rows")
        if found != rows:
            raise StepError(f"{name} holds {found} rows and not {rows}")


def measure_join(bench: Bench) -> list[Line]:
    rows = bench.scale.store_rows[-1]
    two = _Two(bench, bench.new_directory("join"), rows)
    began = time.monotonic()
    two.start(OTHER)
    wait_until(two.are_equal, "equal fingerprints", _JOIN_TIMEOUT_S, _JOIN_POLL_S)
    took_s = time.monotonic() - began
    two.check_rows(OTHER, rows)
    return [
        Line(
            f"empty member beside one with {rows:,} rows: equal after",
            f"{seconds(took_s)}, rows {rows / took_s:,.0f} /s",
            target=f"≤ {JOIN_S:.0f} s",
            outcome=Outcome.of(took_s <= JOIN_S),
        )
    ]


def measure_restart(bench: Bench) -> list[Line]:
    rows = bench.scale.store_rows[-1]
    directory = bench.new_directory("restart")
    bench.seeds.copy(rows, directory / OTHER, OTHER)
    two = _Two(bench, directory, rows)
    took_s, memory_bytes = [], []
    for _ in range(bench.scale.restarts + 1):
        began = time.monotonic()
        process = two.start(OTHER)
        bench.processes.wait_for_answer(process, two.ports[OTHER], "/readyz", _READY_TIMEOUT_S)
        took_s.append(time.monotonic() - began)
        memory_bytes.append(_anonymous_bytes(process.pid))
        two.check_rows(OTHER, rows)
        bench.processes.end(process)
    # The first start is no restart.
    ready_s, resident_bytes = median(took_s[1:]), median(memory_bytes[1:])
    return [
        Line(
            f"restart with {rows:,} rows: ready after",
            seconds(ready_s),
            target=f"≤ {READY_S:.0f} s",
            outcome=Outcome.of(ready_s <= READY_S),
        ),
        Line(
            f"memory with {rows:,} rows, without the mapped file",
            mebibytes(resident_bytes),
            target=f"≤ {mebibytes(MEMORY_BYTES)}",
            outcome=Outcome.of(resident_bytes <= MEMORY_BYTES),
        ),
    ]


def _anonymous_bytes(pid: int) -> int:
    found = re.search(r"^RssAnon:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found, "Linux 4.5 and later tell it"
    return int(found[1]) * 1024
