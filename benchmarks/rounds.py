"""What it costs two members to compare, and to exchange what differs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from benchmarks.bench import Bench
from benchmarks.figures import byte_count, median, milliseconds, times
from benchmarks.processes import StepError
from benchmarks.rows import row_bytes
from benchmarks.seeds import ORIGIN, put_of
from benchmarks.sides import Pair, Side
from benchmarks.table import NONE, Line, Outcome
from benchmarks.wire import http_bytes
from gossipkv.core.inputs import Write
from gossipkv.core.model.address import USER

TITLE = "Sync rounds between two members"
METHOD = """\
Two members in one process, with the real replica, codec and LMDB, and exchanges carried by hand. A round compares
both shards, `usr` and `sys`. Bytes are those of all frames, both ways; with HTTP means headers too, counted between
two real transports. CPU is that of both members, in user and kernel mode, without waiting for the disk. For rows that
differ, rows spread over the table are written again on one member, the push is lost, and the other member begins a
round; everything that is sent until both hold the same and have nothing more to say counts. A row's own size is that
of key and value."""

IN_SYNC_BYTES = 512
CPU_RATIO_MAX = 1.5
"""What passes for independent of the number of rows."""
DIFFERING_RATIO_MAX = 3.0
OTHER = "gossipkv-1"


@dataclass(frozen=True, slots=True)
class InSync:
    rows: int
    bytes: float
    bytes_with_http: int
    cpu_ms: float


def measure(bench: Bench) -> list[Line]:
    found: list[InSync] = []
    differing: list[Line] = []
    for rows in bench.scale.store_rows:
        pair = _pair(bench, rows)
        try:
            found.append(_in_sync(pair, rows, bench.scale.sync_rounds))
            if rows == bench.scale.store_rows[-1]:
                counts = bench.scale.differing_rows
                differing = [_differing_line(pair, rows, count, is_judged=count == counts[-1]) for count in counts]
        finally:
            pair.close()
    return [_in_sync_line(each) for each in found] + [_cpu_line(found)] + differing


def _pair(bench: Bench, rows: int) -> Pair:
    directory = bench.new_directory(f"rounds-{rows}")
    for member in (ORIGIN, OTHER):
        bench.seeds.copy(rows, directory / member, member)
    pair = Pair(Side(OTHER, directory / OTHER), Side(ORIGIN, directory / ORIGIN))
    pair.settle()
    for side in (pair.ours, pair.theirs):
        if side.rows != rows:
            raise StepError(f"{side.name} holds {side.rows} rows and not {rows}")
    return pair


def _in_sync(pair: Pair, rows: int, rounds: int) -> InSync:
    sizes, cpu_ms = [], []
    frames = (0, 0)
    for _ in range(rounds):
        counted = pair.ours.driver.replica.tally.rounds["in_sync"]
        pair.begin_round()
        traffic = pair.carry_all()
        if traffic.exchanges != 1 or pair.ours.driver.replica.tally.rounds["in_sync"] != counted + 1:
            raise StepError("a round between members in sync was more than one comparison")
        sizes.append(traffic.bytes)
        cpu_ms.append(traffic.cpu_ms)
        frames = traffic.last_frames
    return InSync(rows, median(sizes), asyncio.run(http_bytes(*frames)), median(cpu_ms))


def _in_sync_line(found: InSync) -> Line:
    return Line(
        f"in sync, {found.rows:,} rows: bytes (with HTTP), CPU",
        f"{byte_count(found.bytes)} ({found.bytes_with_http:,}), {milliseconds(found.cpu_ms)}",
        target=f"≤ {IN_SYNC_BYTES} bytes in frames",
        outcome=Outcome.of(found.bytes <= IN_SYNC_BYTES),
    )


def _cpu_line(found: list[InSync]) -> Line:
    least, most = found[0], found[-1]
    ratio = most.cpu_ms / least.cpu_ms
    return Line(
        f"in sync, CPU at {most.rows:,} rows beside {least.rows:,}",
        milliseconds(most.cpu_ms),
        milliseconds(least.cpu_ms),
        times(ratio),
        f"independent of rows: ratio ≤ {CPU_RATIO_MAX}",
        Outcome.of(ratio <= CPU_RATIO_MAX),
    )


def _differing_line(pair: Pair, rows: int, count: int, *, is_judged: bool) -> Line:
    spread = range(0, rows, rows // count)[:count]
    for number in spread:
        pair.theirs.take(Write(USER, (put_of(number),)))
        pair.lose_sends()
    pair.begin_round()
    traffic = pair.carry_all()
    if not pair.are_equal:
        raise StepError(f"{count} rows that differed still do after a round")
    own_bytes = count * row_bytes()
    ratio = traffic.bytes / own_bytes
    return Line(
        f"{count:,} of {rows:,} rows differ: bytes until equal (CPU {milliseconds(traffic.cpu_ms)})",
        byte_count(traffic.bytes),
        f"{byte_count(own_bytes)} of rows",
        times(ratio),
        f"ratio ≤ {DIFFERING_RATIO_MAX}" if is_judged else NONE,
        Outcome.of(ratio <= DIFFERING_RATIO_MAX) if is_judged else Outcome.NO_TARGET,
    )
