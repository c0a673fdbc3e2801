"""`gossipkv watch`, which runs until it is interrupted."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from tests.cli.conftest import Run
from tests.processes.command import Command, until

NOWHERE = "http://127.0.0.1:1"


def test_events_are_written_as_they_come_until_ctrl_c_and_gone_on_from_by_id(
    run: Run, member: str, tmp_path: Path
) -> None:
    run("put", "watched", "there", "before")
    watching = Command(tmp_path / "first", "watch", "watched", "--snapshot", "-o", "json", "-s", NOWHERE, "-s", member)
    try:
        watching.says('"current"')
        run("put", "watched", "k", "v")
        watching.says('"k"')
    finally:
        watching.process.send_signal(signal.SIGINT)
    assert watching.ends() == 0
    there, current, event = [json.loads(line) for line in watching.output.splitlines()]
    assert (there["event"], there["row"], current["event"]) == ("put", "there", "current")
    assert (event["event"], event["row"], event["value"]) == ("put", "k", "v")

    run("delete", "watched", "k")
    run("put", "watched", "l", "a\nb")
    resumed = Command(tmp_path / "second", "watch", "watched", "--since", event["id"], "-s", member)
    try:
        until(lambda: len(resumed.output.splitlines()) == 2, "two events")
    finally:
        resumed.process.send_signal(signal.SIGINT)
    assert resumed.ends() == 0
    assert resumed.output == "delete   k\nput      l  a\\nb\n"


def test_what_is_wrong_with_a_watch_is_said_on_one_line(run: Run) -> None:
    outcome = run("watch", "watched", "--since", "!", code=2)
    assert "the last event id is none that a watch gave out" in outcome.err
    assert len(outcome.err.splitlines()) == 1
