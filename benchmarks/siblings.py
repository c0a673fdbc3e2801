"""What a table that keeps siblings costs, beside one where the last write wins."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import wrk
from benchmarks.bench import Bench
from benchmarks.figures import median, median_ratio, per_second, times
from benchmarks.processes import LOOPBACK, StepError, ask, free_ports, require
from benchmarks.rows import row_path, row_value
from benchmarks.table import Line
from benchmarks.wrk import Request

TITLE = "Siblings"
METHOD = f"""\
One member on one core, `wrk -t1` over {wrk.CONNECTIONS} connections on another, values of 100 bytes; the yardstick is a
table of the same member where the last write wins, in interleaved rounds. *Read and write* reads each row in turn and
writes it with the context that it came with, so half of the requests are durable PUTs and no row ever has two values.
*Two values* are rows written twice without a context: both come in one answer, as JSON."""

_PLAIN, _SIBLINGS, _PAIRS = "plain", "siblings", "pairs"
_ROWS_MIN = 8 * wrk.CONNECTIONS
"""With fewer a row could come up again before it is written, and have two values then."""
_SETTINGS = json.dumps({"conflicts": "siblings"}).encode()

_READ_AND_WRITE = """\
local last = 0
local read = {}
local head, rows = %s, %d
request = function()
  local row = table.remove(read)
  if row then
    return wrk.format("PUT", row.path, {["Gossipkv-Context"] = row.context}, row.value)
  end
  last = last %% rows + 1
  return wrk.format("GET", head .. string.format("%%08d", last - 1))
end
response = function(status, headers, body)
  if status == 200 then
    local path = head .. string.format("%%08d", tonumber(body:sub(1, 10)))
    read[#read + 1] = {path = path, context = headers["Gossipkv-Context"], value = body}
  end
end
"""
"""A value begins with the number of its row, which tells a response's row: wrk does not."""


def measure(bench: Bench) -> list[Line]:
    require("wrk", "wrk")
    directory = bench.new_directory("siblings")
    port = _start_member(bench, directory)
    rows = max(bench.scale.loaded_rows, _ROWS_MIN)
    for table in (_SIBLINGS, _PAIRS):
        _expect(ask(port, f"/v1/usr/tables/{table}", "PUT", _SETTINGS))
    for table in (_PLAIN, _SIBLINGS, _PAIRS, _PAIRS):
        for number in range(rows):
            _expect(ask(port, row_path(number, table), "PUT", row_value(number)))
    for table in (_PLAIN, _SIBLINGS):
        head = json.dumps(row_path(0, table)[:-8])
        _cycle(directory, table).write_text(_READ_AND_WRITE % (head, rows))
    for table in (_PLAIN, _SIBLINGS, _PAIRS):
        requests = [Request("GET", row_path(number, table), "") for number in range(rows)]
        _reads(directory, table).write_text(wrk.script(requests))
    compared = {
        "read and write with context": (_cycle(directory, _SIBLINGS), _cycle(directory, _PLAIN)),
        "GET of one value": (_reads(directory, _SIBLINGS), _reads(directory, _PLAIN)),
        "GET of two values beside GET of one": (_reads(directory, _PAIRS), _reads(directory, _PLAIN)),
    }
    lines = [_line(bench, port, what, *scripts) for what, scripts in compared.items()]
    _check(port, rows)
    return lines


def _line(bench: Bench, port: int, what: str, ours: Path, plain: Path) -> Line:
    rates: dict[Path, list[float]] = {ours: [], plain: []}
    for _ in range(bench.scale.rounds):
        for script, found in rates.items():
            load = wrk.run(bench.processes, f"http://{LOOPBACK}:{port}", script, bench.scale.load_s)
            found.append(load.requests_per_second)
    ratio = times(median_ratio(rates[ours], rates[plain]))
    return Line(what, per_second(median(rates[ours])), per_second(median(rates[plain])), ratio)


def _start_member(bench: Bench, directory: Path) -> int:
    port, gossip_port = free_ports(2)
    process = bench.processes.start_member(
        "gossipkv-0", directory / "gossipkv", (port, gossip_port), core=bench.processes.cores.server
    )
    bench.processes.wait_for_answer(process, port, "/livez")
    return port


def _check(port: int, rows: int) -> None:
    """The figures are of what they say: no context was passed over, and each pair is two values."""
    expected = {_PLAIN: 200, _SIBLINGS: 200, _PAIRS: 300}
    for table, status in expected.items():
        for number in (0, rows - 1):
            found, _ = ask(port, row_path(number, table))
            if found != status:
                raise StepError(f"a row of {table} is answered {found}, not {status}")


def _expect(answer: tuple[int, bytes]) -> None:
    status, text = answer
    if status not in (200, 201, 204):
        raise StepError(f"a PUT is answered {status}: {text[:200]!r}")


def _cycle(directory: Path, table: str) -> Path:
    return directory / f"{table}-cycle.lua"


def _reads(directory: Path, table: str) -> Path:
    return directory / f"{table}-reads.lua"
