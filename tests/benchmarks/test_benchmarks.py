"""The benchmarks themselves: their arithmetic, and that the cheap sections run and yield numbers."""

from __future__ import annotations

import platform
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import (
    batches,
    contents,
    copies,
    http,
    idle,
    machine,
    processes,
    propagation,
    rounds,
    siblings,
    watches,
    wrk,
)
from benchmarks.__main__ import main
from benchmarks.bench import Bench, Scale
from benchmarks.figures import median, median_ratio, percentile
from benchmarks.processes import MissingProgramError, Processes, StepError
from benchmarks.report import Report, to_page
from benchmarks.seeds import Seeds
from benchmarks.table import Line, Outcome, to_markdown

WRK_OUTPUT = """Running 4s test @ http://127.0.0.1:7080
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.51ms    1.02ms  20.03ms   95.55%
    Req/Sec    21.93k     2.49k   25.18k    80.00%
  Latency Distribution
     50%  840.00us
     75%    1.51ms
     90%    1.94ms
     99%    1.02s
  43673 requests in 2.00s, 10.12MB read
Requests/sec:  21791.94
Transfer/sec:      5.05MB
"""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Processes(tmp_path) as started:
        yield Bench(Scale.quick(), tmp_path, started, Seeds(tmp_path / "seeds"))


def numbers(line: Line) -> list[float]:
    """Those in the cell of what was measured."""
    return [float(found.replace(",", "")) for found in re.findall(r"[\d,]*\d\.?\d*", line.gossipkv)]


# Arithmetic


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert percentile(values, 0.99) == 99
    assert percentile(values, 1.0) == 100
    assert percentile([7.0, 5.0], 0.5) == 5.0
    assert percentile([7.0], 0.99) == 7.0


def test_nothing_measured_has_no_median() -> None:
    with pytest.raises(AssertionError, match="nothing was measured"):
        median([])


def test_a_ratio_is_taken_within_each_round() -> None:
    # A round in which the whole machine was slow tells as much as the others.
    assert median_ratio([10.0, 1.0, 30.0], [20.0, 2.0, 30.0]) == 0.5


# wrk


def test_wrk_output_is_read_in_its_units() -> None:
    assert wrk.parse(WRK_OUTPUT) == wrk.Load(requests_per_second=21791.94, median_ms=0.84, p99_ms=1020.0)


@pytest.mark.parametrize(
    "trouble",
    ["  Non-2xx or 3xx responses: 12\n", "  Socket errors: connect 0, read 3, write 0, timeout 0\n"],
)
def test_a_load_with_errors_is_no_measurement(trouble: str) -> None:
    with pytest.raises(StepError, match=r"were no success|socket errors"):
        wrk.parse(WRK_OUTPUT.replace("Requests/sec", f"{trouble}Requests/sec"))


@pytest.mark.parametrize("output", ["", WRK_OUTPUT.replace("Requests/sec", "Requests"), WRK_OUTPUT.replace("99%", "")])
def test_unknown_wrk_output_is_no_measurement(output: str) -> None:
    with pytest.raises(StepError, match="not understood"):
        wrk.parse(output)


def test_the_script_quotes_bodies_and_leaves_out_absent_ones() -> None:
    text = wrk.script([wrk.Request("GET", "/a", ""), wrk.Request("POST", "/b", '{"key": "x"}')])
    assert 'wrk.format("GET", "/a", nil, nil)' in text
    assert 'wrk.format("POST", "/b", nil, "{\\"key\\": \\"x\\"}")' in text


# The report


def test_what_was_not_measured_is_named_and_never_taken_for_reached() -> None:
    lines = [
        Line("fast", "1 s", target="≤ 2 s", outcome=Outcome.REACHED),
        Line("slow", "3 s", target="≤ 2 s", outcome=Outcome.MISSED),
        Line.not_measured("absent", "`etcd` is not installed: apt-get install etcd-server"),
    ]
    page = to_page([("cores", "2")], [Report("Title", "Method.", lines)])
    missed = page.partition("## Targets that are not reached")[2].partition("## Title")[0]
    assert "- slow: the target is ≤ 2 s, measured 3 s." in missed
    assert "- absent: not measured. `etcd` is not installed: apt-get install etcd-server" in missed
    assert "fast" not in missed
    assert "not measured" in to_markdown(lines).splitlines()[-1]


def test_a_missing_yardstick_names_its_package() -> None:
    with pytest.raises(MissingProgramError, match="apt-get install some-package"):
        processes.require("a-program-that-is-nowhere", "some-package")


def test_the_machine_is_described_without_a_name_or_a_path(tmp_path: Path) -> None:
    described = dict(machine.describe(tmp_path, fsync_count=3))
    text = " ".join(described.values())
    assert described["cores"][0].isdigit()
    assert "median" in described["fsync of 4 KiB"]
    assert platform.node() not in text
    assert str(tmp_path) not in text


# Processes


def test_processes_are_ended_with_the_run(tmp_path: Path) -> None:
    with Processes(tmp_path) as started:
        process = started.start(["sleep", "600"], "sleep", core=started.cores.load)
        assert process.poll() is None
    assert process.poll() is not None


def test_a_process_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with Processes(tmp_path) as started, pytest.raises(StepError, match="did not end within"):
        started.run(["sleep", "600"], core=None, timeout_s=0.01)


def test_a_process_that_fails_is_no_measurement(tmp_path: Path) -> None:
    with Processes(tmp_path) as started, pytest.raises(StepError, match="ended with code 1"):
        started.run(["false"], core=None, timeout_s=30)


# Sections


def test_an_unknown_section_is_refused_before_anything_is_measured() -> None:
    refused = CliRunner().invoke(main, ["--only", "a,z"])
    assert refused.exit_code == 2
    assert "'z' is no section; there are a, b, c, d, e, f, g, h, i, j" in refused.output


@pytest.mark.parametrize(
    "measure",
    [
        batches.measure,
        propagation.measure,
        rounds.measure,
        copies.measure,
        siblings.measure,
        watches.measure,
        contents.measure,
    ],
    ids=["batches", "propagation", "rounds", "copies", "siblings", "watches", "contents"],
)
def test_a_section_runs_quickly_and_yields_numbers(measure: Callable[[Bench], list[Line]], bench: Bench) -> None:
    if measure in (copies.measure, siblings.measure) and shutil.which("wrk") is None:
        with pytest.raises(MissingProgramError, match="apt-get install wrk"):
            measure(bench)
        return
    lines = measure(bench)
    assert lines
    for line in lines:
        assert line.outcome is not Outcome.NOT_MEASURED
        assert numbers(line), line
        assert all(number > 0 for number in numbers(line)), line


def test_the_server_that_is_not_ours_takes_the_same_requests(bench: Bench) -> None:
    contender = http.start_bare(bench)
    http.preload(contender, rows=2)
    method, path, body = contender.request(http.PUT, 1)
    assert processes.ask(contender.port, path, method, body.encode()) == (204, b"")


def test_members_that_have_nothing_to_do_are_measured_and_ended(bench: Bench, tmp_path: Path) -> None:
    found = idle.measure(bench.processes, tmp_path, members=2, duration_s=2, settle_s=0)
    assert len(found.cpu_ms) == len(found.resident_bytes) == 2
    assert 0 < found.frame_bytes < found.loopback_bytes
    assert re.fullmatch(r"\| 2 \| [\d.]+ ms/s \| [\d.]+ ms/s \|.* MiB \|", idle.line(2, found))
    assert not bench.processes._running
