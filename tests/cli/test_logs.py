"""In processes of their own, since logging is set up once for a process."""

from __future__ import annotations

import json
import subprocess
import sys

SCRIPT = """
import logging, structlog
from gossipkv.config import logs
logs.configure({!r}, {!r})
structlog.get_logger("a.logger").info("an_event", number=3)
logging.getLogger("aiohttp.server").warning("words of %s", "aiohttp")
structlog.get_logger("a.logger").debug("in_detail")
secret = "a user's value"
try:
    1 / 0
except ZeroDivisionError:
    structlog.get_logger("a.logger").exception("it_failed")
"""


def lines_of(log_format: str, log_level: str) -> list[str]:
    command = [sys.executable, "-c", SCRIPT.format(log_format, log_level)]
    finished = subprocess.run(command, capture_output=True, check=True, text=True)
    assert finished.stdout == ""
    return finished.stderr.splitlines()


def test_where_there_is_no_terminal_each_event_is_a_line_of_json() -> None:
    own, foreign, failure = map(json.loads, lines_of("auto", "info"))
    assert (own["event"], own["number"], own["level"], own["logger"]) == ("an_event", 3, "info", "a.logger")
    assert own["timestamp"].endswith("Z")
    assert (foreign["event"], foreign["level"], foreign["logger"]) == ("words of aiohttp", "warning", "aiohttp.server")
    assert failure["exception"][0]["exc_type"] == "ZeroDivisionError"
    assert "a user's value" not in json.dumps(failure)


def test_lines_below_the_level_are_left_out() -> None:
    assert [json.loads(line)["event"] for line in lines_of("json", "error")] == ["it_failed"]
    assert len(lines_of("json", "debug")) == 4


def test_for_the_console_lines_are_plain_where_there_is_no_terminal() -> None:
    own = lines_of("console", "info")[0]
    assert "an_event" in own
    assert "number=3" in own
    assert "\x1b" not in own
