"""Single rows over HTTP: reads, and durable writes."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import wrk
from benchmarks.bench import Bench
from benchmarks.figures import median, median_ratio, milliseconds, per_second, times
from benchmarks.processes import LOOPBACK, MissingProgramError, Processes, StepError, ask, free_ports, require
from benchmarks.rows import row_key, row_path, row_value
from benchmarks.table import Line, Outcome
from benchmarks.wrk import Load, Request

TITLE = "Single rows over HTTP"
METHOD = f"""\
`wrk -t1` over {wrk.CONNECTIONS} connections, values of 100 bytes, rows in turn. Every server is on one core, `wrk` on
another. Rounds are interleaved (each server in turn, then again); figures are medians over rounds, ratios are taken
within a round. A PUT is answered once it is on disk. *bare* is an aiohttp application on uvloop without access log
that returns the same bytes and reads the same bodies but stores nothing. *etcd* is one member on the same volume by
its JSON gateway: puts are durable as well, and reads are `serializable`, that is answered from the member's own copy,
which is etcd's fastest."""

GET, PUT = "GET", "PUT"
TARGETS = {(GET, "bare"): 0.85, (PUT, "bare"): 0.6, (GET, "etcd"): 2.0, (PUT, "etcd"): 2.0}
_ETCD_READY_S = 60.0


@dataclass(frozen=True, slots=True)
class Contender:
    name: str
    port: int
    request: Callable[[str, int], Request]
    """For a call and the number of a row."""
    loads: dict[str, list[Load]] = field(default_factory=lambda: {GET: [], PUT: []})

    def rates(self, call: str) -> list[float]:
        return [load.requests_per_second for load in self.loads[call]]


def measure(bench: Bench) -> list[Line]:
    require("wrk", "wrk")
    directory = bench.new_directory("http")
    contenders = [_start_gossipkv(bench, directory), start_bare(bench)]
    missing = ""
    try:
        contenders.append(_start_etcd(bench, directory))
    except MissingProgramError as error:
        missing = str(error)
    for contender in contenders:
        preload(contender, bench.scale.loaded_rows)
        for call in (GET, PUT):
            requests = [contender.request(call, number) for number in range(bench.scale.loaded_rows)]
            _script_path(directory, contender, call).write_text(wrk.script(requests))
    for call in (PUT, GET):
        for _ in range(bench.scale.rounds):
            for contender in contenders:
                _run(bench, directory, contender, call)
    ours = contenders[0]
    lines = []
    for call in (GET, PUT):
        lines += [_line(call, ours, yardstick) for yardstick in contenders[1:]]
        if missing:
            lines.append(Line.not_measured(_what(call, "etcd"), missing, _target(call, "etcd")))
        lines.append(_latency_line(call, ours))
    return lines


def _run(bench: Bench, directory: Path, contender: Contender, call: str) -> None:
    url = f"http://{LOOPBACK}:{contender.port}"
    load = wrk.run(bench.processes, url, _script_path(directory, contender, call), bench.scale.load_s)
    contender.loads[call].append(load)


def _line(call: str, ours: Contender, yardstick: Contender) -> Line:
    ratio = median_ratio(ours.rates(call), yardstick.rates(call))
    return Line(
        _what(call, yardstick.name),
        per_second(median(ours.rates(call))),
        per_second(median(yardstick.rates(call))),
        times(ratio),
        _target(call, yardstick.name),
        Outcome.of(ratio >= TARGETS[call, yardstick.name]),
    )


def _latency_line(call: str, ours: Contender) -> Line:
    loads = ours.loads[call]
    found = f"{milliseconds(median([o.median_ms for o in loads]))}, {milliseconds(median([o.p99_ms for o in loads]))}"
    return Line(f"{call} under that load: median, p99", found)


def _what(call: str, yardstick: str) -> str:
    return f"{'durable ' if call == PUT else ''}{call} beside {yardstick}"


def _target(call: str, yardstick: str) -> str:
    return f"ratio ≥ {TARGETS[call, yardstick]}"


def _script_path(directory: Path, contender: Contender, call: str) -> Path:
    return directory / f"{contender.name}-{call}.lua"


def preload(contender: Contender, rows: int) -> None:
    """Every row is there before any is read."""
    for number in range(rows):
        method, path, body = contender.request(PUT, number)
        status, text = ask(contender.port, path, method, body.encode())
        if status not in (200, 201, 204):
            raise StepError(f"{contender.name} answers {status} to a PUT: {text[:200]!r}")
    method, path, body = contender.request(GET, rows - 1)
    status, text = ask(contender.port, path, method, body.encode() or None)
    if status != 200 or not text:
        raise StepError(f"{contender.name} answers {status} to a GET: {text[:200]!r}")


# The servers


def _start_gossipkv(bench: Bench, directory: Path) -> Contender:
    port, gossip_port = free_ports(2)
    process = bench.processes.start_member(
        "gossipkv-0", directory / "gossipkv", (port, gossip_port), core=bench.processes.cores.server
    )
    bench.processes.wait_for_answer(process, port, "/livez")
    return Contender("gossipkv", port, _row_request)


def start_bare(bench: Bench) -> Contender:
    [port] = free_ports(1)
    arguments = [sys.executable, "-m", "benchmarks.bare", str(port)]
    process = bench.processes.start(arguments, "bare", bench.processes.cores.server)
    bench.processes.wait_for_answer(process, port, row_path(0))
    return Contender("bare", port, _row_request)


def _start_etcd(bench: Bench, directory: Path) -> Contender:
    require("etcd", "etcd-server")
    port, peer_port = free_ports(2)
    process = _etcd(bench.processes, directory / "etcd", port, peer_port)
    bench.processes.wait_for_answer(process, port, "/health", _ETCD_READY_S)
    return Contender("etcd", port, _etcd_request)


def _etcd(processes: Processes, data_dir: Path, port: int, peer_port: int) -> subprocess.Popen[bytes]:
    url, peer_url = f"http://{LOOPBACK}:{port}", f"http://{LOOPBACK}:{peer_port}"
    arguments = ["etcd", "--name", "bench", "--data-dir", str(data_dir), "--log-level", "error", "--logger", "zap"]
    arguments += ["--listen-client-urls", url, "--advertise-client-urls", url, "--listen-peer-urls", peer_url]
    arguments += ["--initial-advertise-peer-urls", peer_url, "--initial-cluster", f"bench={peer_url}"]
    return processes.start(arguments, "etcd", processes.cores.server)


def _row_request(call: str, number: int) -> Request:
    return Request(call, row_path(number), row_value(number).decode() if call == PUT else "")


def _etcd_request(call: str, number: int) -> Request:
    key = base64.b64encode(row_key(number)).decode()
    if call == GET:
        return Request("POST", "/v3/kv/range", json.dumps({"key": key, "serializable": True}))
    value = base64.b64encode(row_value(number)).decode()
    return Request("POST", "/v3/kv/put", json.dumps({"key": key, "value": value}))
