from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest

from gossipkv.cli.terminal.exit_code import ExitCode
from tests.processes.command import Command, free_range, is_running, until
from tests.processes.conftest import Start

CONVERGED = "all 3 members are ready and hold the same rows"


@pytest.fixture
def http_port() -> int:
    return free_range(3, 100)


@pytest.fixture
def cluster(start: Start, http_port: int, tmp_path: Path) -> Command:
    """A local cluster of three that has converged."""
    running = start("dev", "--http-port", http_port, "--data-dir", tmp_path / "dev")
    running.says(CONVERGED)
    return running


def pids(cluster: Command, member: str = r"gossipkv-\d") -> list[int]:
    """The processes that its output names, in order of their start."""
    named = re.findall(rf"^{member} \S+, pid (\d+)", cluster.output, re.MULTILINE)
    return list(dict.fromkeys(map(int, named)))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_local_cluster_converges_and_leaves_nothing_behind(
    start: Start, cluster: Command, http_port: int, number: signal.Signals
) -> None:
    assert len(pids(cluster)) == 3
    assert start("put", "t", "r", "value", "-s", f"http://127.0.0.1:{http_port}").ends() == 0
    cluster.process.send_signal(number)
    assert cluster.ends() == 0
    assert not any(is_running(pid) for pid in pids(cluster))
    assert "stopped" in cluster.output


def test_status_asks_every_member_and_tells_when_they_hold_the_same_rows(
    start: Start, cluster: Command, http_port: int
) -> None:
    server = f"http://127.0.0.1:{http_port}"
    assert start("put", "t", "r", "value", "-s", server).ends() == 0

    def is_converged_with_the_row() -> bool:
        asking = start("status", "-o", "json", "-s", server)
        if asking.ends() != 0:
            assert asking.ends() == ExitCode.NOT_CONVERGED, asking.output
            return False
        members = json.loads(asking.output)["members"]
        return [member["figures"]["usr"]["rows"] for member in members] == [1, 1, 1]

    until(is_converged_with_the_row, "the row on all members")


def test_data_stay_from_run_to_run(start: Start, cluster: Command, http_port: int, tmp_path: Path) -> None:
    server = f"http://127.0.0.1:{http_port + 2}"
    assert start("put", "t", "r", "value", "-s", server).ends() == 0
    cluster.process.send_signal(signal.SIGINT)
    assert cluster.ends() == 0
    start("dev", "--http-port", http_port, "--data-dir", tmp_path / "dev").says(CONVERGED)
    reading = start("get", "t", "r", "-s", server)
    assert reading.ends() == 0
    assert reading.output == "value"


def test_a_second_interrupt_ends_it_at_once(cluster: Command) -> None:
    cluster.process.send_signal(signal.SIGINT)
    cluster.process.send_signal(signal.SIGINT)
    assert cluster.ends() == 0
    assert not any(is_running(pid) for pid in pids(cluster))


def test_members_do_not_outlive_a_supervisor_that_is_killed(cluster: Command) -> None:
    cluster.process.kill()
    cluster.ends()
    until(lambda: not any(is_running(pid) for pid in pids(cluster)), "the end of the members")


def test_a_member_that_died_is_shown_with_what_starts_it_and_seen_when_it_was_started(
    start: Start, cluster: Command, tmp_path: Path
) -> None:
    os.kill(pids(cluster, "gossipkv-1")[0], signal.SIGKILL)
    cluster.says("gossipkv-1 ended by signal 9")
    config = tmp_path / "dev" / "gossipkv-1.toml"
    assert f"gossipkv serve --config {config}" in cluster.output
    start("serve", "--config", config)
    cluster.says("gossipkv-1 ready, started by hand")


def test_a_member_is_started_again_only_when_that_is_asked_for(start: Start, http_port: int, tmp_path: Path) -> None:
    cluster = start("dev", "--http-port", http_port, "--data-dir", tmp_path / "dev", "--restart")
    cluster.says(CONVERGED)
    os.kill(pids(cluster, "gossipkv-2")[0], signal.SIGKILL)
    until(lambda: len(pids(cluster, "gossipkv-2")) == 2, "a new process")


def test_a_port_that_is_taken_is_named_before_anything_starts(
    start: Start, cluster: Command, http_port: int, tmp_path: Path
) -> None:
    second = start("dev", "--http-port", http_port - 1, "--data-dir", tmp_path / "other")
    assert second.ends() == ExitCode.ADDRESS_IN_USE
    assert f"127.0.0.1:{http_port} is in use; gossipkv-1 needs it" in second.output
    assert "--http-port" in second.output
    assert not (tmp_path / "other").exists()


def test_logs_name_the_member_on_every_line(cluster: Command, tmp_path: Path) -> None:
    lines = (tmp_path / "dev" / "logs" / "gossipkv-1.log").read_text().splitlines()
    assert lines
    assert all(line.startswith("gossipkv-1 ") for line in lines)
