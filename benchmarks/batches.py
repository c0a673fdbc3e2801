"""Many rows at once."""

from __future__ import annotations

import sys

from benchmarks.bench import Bench
from benchmarks.figures import median, median_ratio, per_second, times
from benchmarks.processes import free_ports
from benchmarks.rows import GROUP_ROWS
from benchmarks.table import Line, Outcome

TITLE = "Batches"
METHOD = f"""\
New rows with keys in order, as from an export, {GROUP_ROWS:,} in a transaction; each round begins on an empty store.
*HTTP* is one `rows:batch` request: a client on the other core streams NDJSON and reads the results. *Embedded* is
`Node.write` in the process, two groups under way. *Raw* is py-lmdb with its default flags: the same rows, one table,
nothing else. A row of gossipkv is four entries: row, journal, leaf, and its share of the fingerprint."""

ROWS_PER_SECOND = 40_000
RATIO = 0.4
TARGET = f"≥ {ROWS_PER_SECOND:,} /s or ratio ≥ {RATIO}"
RUN_TIMEOUT_S = 120.0


def measure(bench: Bench) -> list[Line]:
    rates: dict[str, list[float]] = {"raw": [], "http": [], "embedded": []}
    for number in range(bench.scale.rounds):
        rates["raw"].append(_write_here(bench, "raw", number))
        rates["http"].append(_write_to_server(bench, number))
        rates["embedded"].append(_write_here(bench, "embedded", number))
    return [
        _line("rows:batch over HTTP beside raw LMDB", rates["http"], rates["raw"]),
        _line("embedded node beside raw LMDB", rates["embedded"], rates["raw"]),
    ]


def _line(what: str, ours: list[float], raw: list[float]) -> Line:
    rate, ratio = median(ours), median_ratio(ours, raw)
    outcome = Outcome.of(rate >= ROWS_PER_SECOND or ratio >= RATIO)
    return Line(what, f"rows {per_second(rate)}", f"rows {per_second(median(raw))}", times(ratio), TARGET, outcome)


def _write_here(bench: Bench, kind: str, number: int) -> float:
    directory = bench.new_directory(f"batches/{kind}-{number}")
    return _rate(bench, kind, str(directory), bench.processes.cores.server)


def _write_to_server(bench: Bench, number: int) -> float:
    port, gossip_port = free_ports(2)
    process = bench.processes.start_member(
        "gossipkv-0",
        bench.directory / f"batches/http-{number}",
        (port, gossip_port),
        core=bench.processes.cores.server,
    )
    bench.processes.wait_for_answer(process, port, "/livez")
    rate = _rate(bench, "http", str(port), bench.processes.cores.load)
    bench.processes.end(process)
    return rate


def _rate(bench: Bench, kind: str, place: str, core: int) -> float:
    """Rows per second."""
    rows = bench.scale.batch_rows
    arguments = [sys.executable, "-m", "benchmarks.writers", kind, place, str(rows)]
    return rows / float(bench.processes.run(arguments, core, RUN_TIMEOUT_S))
