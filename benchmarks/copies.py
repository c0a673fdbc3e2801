"""What a second durable copy costs."""

from __future__ import annotations

from benchmarks import wrk
from benchmarks.bench import Bench
from benchmarks.figures import median, median_ratio, milliseconds, per_second, times
from benchmarks.processes import LOOPBACK, require
from benchmarks.propagation import start_members
from benchmarks.rows import row_path, row_value
from benchmarks.table import Line
from benchmarks.wrk import Load, Request

TITLE = "Writes with several copies"
METHOD = f"""\
Three `gossipkv serve` with default settings on all cores, `wrk -t1` over {wrk.CONNECTIONS} connections on one of them;
PUTs of 100 bytes to the first member, rows in turn, rounds interleaved, ratios taken within a round. A write with
`w=2` is answered once two members have it on disk. Either way all three store every row, and share the cores."""

_QUERIES = {"w=1": "", "w=2": "?w=2"}


def measure(bench: Bench) -> list[Line]:
    require("wrk", "wrk")
    directory = bench.new_directory("copies-load")
    port, *_ = start_members(bench, "copies")
    loads: dict[str, list[Load]] = {copies: [] for copies in _QUERIES}
    for copies, query in _QUERIES.items():
        rows = range(bench.scale.loaded_rows)
        requests = [Request("PUT", row_path(number) + query, row_value(number).decode()) for number in rows]
        (directory / f"{copies}.lua").write_text(wrk.script(requests))
    for _ in range(bench.scale.rounds):
        for copies, found in loads.items():
            url = f"http://{LOOPBACK}:{port}"
            found.append(wrk.run(bench.processes, url, directory / f"{copies}.lua", bench.scale.load_s))
    rates = {copies: [load.requests_per_second for load in found] for copies, found in loads.items()}
    ratio = times(median_ratio(rates["w=2"], rates["w=1"]))
    lines = [
        Line("durable PUT, w=2 beside w=1", per_second(median(rates["w=2"])), per_second(median(rates["w=1"])), ratio)
    ]
    return lines + [
        Line(f"PUT with {copies} under that load: median, p99", _latency(found)) for copies, found in loads.items()
    ]


def _latency(loads: list[Load]) -> str:
    return f"{milliseconds(median([o.median_ms for o in loads]))}, {milliseconds(median([o.p99_ms for o in loads]))}"
