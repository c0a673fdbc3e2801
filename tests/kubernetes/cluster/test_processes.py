from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.kubernetes.cluster.processes import ClusterError, Daemon, run, start, wait_until


def test_a_process_that_got_the_number_of_another_is_not_taken_for_it() -> None:
    this = Daemon.of(os.getpid())
    assert this is not None
    predecessor = Daemon(this.pid, this.started_ticks - 1)
    assert this.is_alive()
    assert not predecessor.is_alive()
    predecessor.end(timeout_s=1.0)


def test_a_daemon_is_ended_and_what_it_said_is_in_its_log(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "daemon.log"
    daemon = start(["sh", "-c", "echo hello; exec sleep 60"], log)
    wait_until(lambda: "hello" in log.read_text(encoding="utf-8"), "the daemon speaks", timeout_s=10.0)
    daemon.end(timeout_s=10.0)
    assert not daemon.is_alive()


def test_a_daemon_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "daemon.log"
    daemon = start(["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 1; done"], log)
    wait_until(lambda: "deaf" in log.read_text(encoding="utf-8"), "the daemon is deaf", timeout_s=10.0)
    daemon.end(timeout_s=0.1)
    assert not daemon.is_alive()


def test_a_program_that_fails_says_why() -> None:
    with pytest.raises(ClusterError, match="no such luck"):
        run(["sh", "-c", "echo no such luck >&2; exit 3"], timeout_s=10.0)


def test_a_program_that_is_missing_is_named() -> None:
    with pytest.raises(ClusterError, match="`gossipkv-no-such-program` is not installed"):
        run(["gossipkv-no-such-program"], timeout_s=10.0)


def test_a_program_that_takes_too_long_is_ended() -> None:
    with pytest.raises(ClusterError, match="longer than"):
        run(["sleep", "60"], timeout_s=0.1)
