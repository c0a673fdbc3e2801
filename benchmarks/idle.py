"""`python -m benchmarks.idle`: what members cost that have nothing to do, by the size of the cluster.

Real processes on loopback that each take all others for alive; then, for a while, no one asks them anything. Bytes are
those of frames of gossip and of the failure detector, as members count them; those with HTTP, TCP and IP are all that
loopback carries meanwhile, so they hold only on a machine where nothing else uses it. CPU is in user and kernel mode.
Every wait has a deadline, and whatever ends this ends the members.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks.figures import median
from benchmarks.processes import Processes, StepError, ask, free_ports, wait_until

HEADINGS = (
    "members",
    "CPU per member, median",
    "most",
    "frames sent per member",
    "with HTTP, TCP and IP",
    "resident memory, median",
)
SEEDS = 3
"""So many members are known to all from the start; the others are found through them."""
START_S = 60.0
START_PER_MEMBER_S = 4.0
POLL_S = 0.5
SETTLE_S = 10.0
"""For what the start has left to do."""
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Idle:
    """Per member and second, but for the memory."""

    cpu_ms: list[float]
    frame_bytes: float
    loopback_bytes: float
    resident_bytes: list[int]


@dataclass(frozen=True, slots=True)
class Member:
    process: subprocess.Popen[bytes]
    http_port: int

    def knows(self, members: int) -> bool:
        """Whether it takes so many for alive, itself included, and is ready."""
        status, body = ask(self.http_port, "/v1/cluster")
        if status != 200:
            return False
        alive = [each for each in json.loads(body)["members"] if each["status"] == "alive"]
        return len(alive) == members and ask(self.http_port, "/readyz")[0] == 200

    def frame_bytes(self) -> int:
        """Sent until now. Raises StepError."""
        found = re.search(
            rb'^gossipkv_gossip_bytes_total\{direction="out"\} (\S+)$', ask(self.http_port, "/metrics")[1], re.MULTILINE
        )
        if found is None:
            raise StepError("a member does not say how many bytes of gossip it has sent")
        return round(float(found[1]))

    def cpu_ms(self) -> float:
        """Used until now."""
        fields = self._proc("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * 1000 / _TICKS_PER_SECOND

    def resident_bytes(self) -> int:
        return int(self._proc("statm").split()[1]) * _PAGE_BYTES

    def _proc(self, name: str) -> str:
        try:
            return Path(f"/proc/{self.process.pid}/{name}").read_text()
        except OSError as error:
            raise StepError(f"a member has ended: {error}") from error


def measure(processes: Processes, directory: Path, members: int, duration_s: float, settle_s: float = SETTLE_S) -> Idle:
    """Start a cluster, let it be, and end it. Raises StepError."""
    started = _start(processes, directory, members)
    deadline_s = START_S + START_PER_MEMBER_S * members
    for member in started:
        wait_until(lambda member=member: member.knows(members), "a member knows all others", deadline_s, POLL_S)  # type: ignore[misc]
    time.sleep(settle_s)
    frames = [member.frame_bytes() for member in started]
    cpu_ms = [member.cpu_ms() for member in started]
    loopback, began = _loopback_bytes(), time.monotonic()
    time.sleep(duration_s)
    passed_s = time.monotonic() - began
    loopback = _loopback_bytes() - loopback
    used_ms = [(member.cpu_ms() - before) / passed_s for member, before in zip(started, cpu_ms, strict=True)]
    sent = sum(member.frame_bytes() - before for member, before in zip(started, frames, strict=True))
    resident = [member.resident_bytes() for member in started]
    for member in started:
        processes.end(member.process)
    return Idle(used_ms, sent / members / passed_s, loopback / members / passed_s, resident)


def _start(processes: Processes, directory: Path, members: int) -> list[Member]:
    ports = free_ports(2 * members)
    http_ports, gossip_ports = ports[:members], ports[members:]
    return [
        Member(
            processes.start_member(f"gossipkv-{number}", directory / str(number), pair, gossip_ports[:SEEDS]), pair[0]
        )
        for number, pair in enumerate(zip(http_ports, gossip_ports, strict=True))
    ]


def _loopback_bytes() -> int:
    """Sent on it until now."""
    found = re.search(r"^\s*lo:((?:\s+\d+){16})", Path("/proc/net/dev").read_text(), re.MULTILINE)
    if found is None:
        raise StepError("there is no loopback interface")
    return int(found[1].split()[8])


def line(members: int, found: Idle) -> str:
    cells = (
        members,
        f"{median(found.cpu_ms):.1f} ms/s",
        f"{max(found.cpu_ms):.1f} ms/s",
        f"{found.frame_bytes:,.0f} bytes/s",
        f"{found.loopback_bytes:,.0f} bytes/s",
        f"{median(found.resident_bytes) / 2**20:.0f} MiB",
    )
    return "| " + " | ".join(map(str, cells)) + " |"


def _sizes(_context: click.Context, _option: click.Parameter, given: str) -> Sequence[int]:
    if not re.fullmatch(r"[1-9]\d{0,2}(,[1-9]\d{0,2})*", given):
        raise click.BadParameter("numbers of members, comma separated")
    return [int(size) for size in given.split(",")]


@click.command(help="Measure what members cost that have nothing to do.")
@click.option("--members", default="3,10,50", show_default=True, callback=_sizes, help="Sizes of the cluster.")
@click.option("--seconds", default=60, show_default=True, type=click.IntRange(1, 600), help="How long to look, each.")
def main(members: Sequence[int], seconds: int) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    click.echo("| " + " | ".join(HEADINGS) + " |\n" + "|---" * len(HEADINGS) + "|")
    for size in members:
        with tempfile.TemporaryDirectory(prefix="gossipkv-idle-") as name, Processes(Path(name)) as processes:
            try:
                found = measure(processes, Path(name), size, seconds)
            except StepError as error:
                raise click.ClickException(f"{size} members: {error}") from error
        click.echo(line(size, found))


if __name__ == "__main__":
    main()
