"""Each example is run as its reader runs it, against a local cluster of three."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes.command import Command, free_range

EXAMPLES = Path(__file__).parents[2] / "examples"
LAST_LINES = {
    "put_get.py": "dark-mode is gone",
    "several_members.py": "members: gossipkv-0, gossipkv-1, gossipkv-2",
    "range_and_batch.py": "5001 operations carried out; package-01200 is b'1.0.1200'",
    "optimistic_update.py": "refused, as it should be: ",
    "siblings_cart.py": 'the cart is ["bread", "milk", "tea"]',
    "watch.py": "the copy is {'colour': b'green', 'size': b'large'}",
    "quorum.py": "refused, because there are fewer than 100 members: ",
    "embedded_member.py": "the second member has it, too: b'on', version ",
}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    directory = tmp_path_factory.mktemp("examples")
    http_port = free_range(3, 100)
    cluster = Command(directory / "output", "dev", "--http-port", http_port, "--data-dir", directory / "dev")
    try:
        cluster.says("all 3 members are ready and hold the same rows")
        yield [f"http://127.0.0.1:{http_port + index}" for index in range(3)]
        cluster.process.send_signal(signal.SIGINT)
        cluster.ends()
    finally:
        cluster.end_for_sure()


def test_every_example_is_tested() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(LAST_LINES)


@pytest.mark.parametrize("name", sorted(LAST_LINES))
def test_an_example_does_what_it_says(name: str, servers: list[str]) -> None:
    arguments = [] if name == "embedded_member.py" else servers
    ended = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments], capture_output=True, text=True, timeout=100
    )
    assert ended.returncode == 0, ended.stderr
    assert LAST_LINES[name] in ended.stdout.splitlines()[-1]
    # What an embedded member logs is for the program around it, which has not asked for it.
    assert ended.stderr == ""
