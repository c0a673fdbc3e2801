"""`wrk`, the load generator: its script, its run, its output.

A run with a response that is no success, or with a socket error, is no measurement: a server that refuses is fast.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from benchmarks.processes import Processes, StepError

CONNECTIONS = 32

_UNIT_MS = {"us": 0.001, "ms": 1.0, "s": 1_000.0, "m": 60_000.0}
_RATE = re.compile(r"^Requests/sec:\s+([\d.]+)", re.MULTILINE)
_LATENCY = re.compile(r"^\s+(50|99)%\s+([\d.]+)(us|ms|s|m)\s*$", re.MULTILINE)
_REFUSED = re.compile(r"Non-2xx or 3xx responses: (\d+)")
_ERRORS = re.compile(r"Socket errors: (.+)")


class Request(NamedTuple):
    method: str
    path: str
    body: str
    """ASCII; none for a request without a body."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one run has found."""

    requests_per_second: float
    median_ms: float
    p99_ms: float


def parse(output: str) -> Load:
    """Read what wrk has printed. Raises StepError where that is no measurement."""
    if refused := _REFUSED.search(output):
        raise StepError(f"{refused[1]} responses were no success")
    if errors := _ERRORS.search(output):
        raise StepError(f"wrk had socket errors: {errors[1]}")
    rate = _RATE.search(output)
    latencies_ms = {share: float(number) * _UNIT_MS[unit] for share, number, unit in _LATENCY.findall(output)}
    if rate is None or latencies_ms.keys() != {"50", "99"}:
        raise StepError(f"wrk printed what is not understood: {output!r}")
    return Load(float(rate[1]), latencies_ms["50"], latencies_ms["99"])


def script(requests: Sequence[Request]) -> str:
    """A Lua script that sends the requests in turn. They are put together before the run. JSON's texts of ASCII are
    Lua's."""
    lines = [
        f"  wrk.format({json.dumps(each.method)}, {json.dumps(each.path)}, nil, "
        f"{json.dumps(each.body) if each.body else 'nil'}),\n"
        for each in requests
    ]
    return (
        "local requests\n"
        "local last = 0\n"
        "init = function(arguments)\n  requests = {\n" + "".join(lines) + "  }\nend\n"
        "request = function()\n  last = last % #requests + 1\n  return requests[last]\nend\n"
    )


def run(processes: Processes, url: str, script_path: Path, duration_s: int) -> Load:
    """One run, on the core of the load. Raises StepError."""
    arguments = ("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{duration_s}s", "--latency", "-s", str(script_path), url)
    return parse(processes.run(arguments, core=processes.cores.load, timeout_s=duration_s + 30))
