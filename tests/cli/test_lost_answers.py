"""Commands whose server carries a write out and dies before it has answered."""

from __future__ import annotations

from pathlib import Path

import pytest

from gossipkv.cli.terminal.exit_code import ExitCode
from tests.cli.conftest import Run, served
from tests.client.dying_server import Death, DyingServer

ROW = "/v1/usr/tables/t/rows/a"
COMMANDS = {
    "put": (["put", "t", "a", "1"], f"PUT {ROW}"),
    "put --if-absent": (["put", "t", "a", "1", "--if-absent"], f"PUT {ROW}"),
    "delete": (["delete", "t", "a"], f"DELETE {ROW}"),
    "delete --if-match": (["delete", "t", "a", "--if-match", "*"], f"DELETE {ROW}"),
    "members forget": (["members", "forget", "m9"], "DELETE /v1/cluster/members/m9"),
    "import": (["import", "t", "{file}", "--retries", "0"], "POST /v1/usr/tables/t/rows:batch"),
}


@pytest.mark.parametrize("death", list(Death), ids=lambda death: death.name.lower())
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_writes_once_and_says_that_its_write_may_stand(
    run: Run, tmp_path: Path, name: str, death: Death
) -> None:
    arguments, request = COMMANDS[name]
    file = tmp_path / "rows.tsv"
    file.write_text("a\t1\n")
    server = DyingServer(death)
    with served(server.port) as url:
        given = [argument.format(file=file) for argument in arguments]
        outcome = run(*given, "--server", url, code=ExitCode.UNAVAILABLE)
    assert server.requests == [request]
    assert "the request may have been carried out" in outcome.err


@pytest.mark.parametrize("name", ["put", "put --if-absent", "delete"])
def test_a_second_server_is_not_asked_for_a_write_that_may_stand(run: Run, member: str, name: str) -> None:
    arguments, request = COMMANDS[name]
    run("put", "t", "a", "as it was")
    server = DyingServer(Death.AFTER_THE_BODY)
    with served(server.port) as url:
        run(*arguments, "--server", url, "--server", member, code=ExitCode.UNAVAILABLE)
    assert server.requests == [request]
    assert run("get", "t", "a").out == b"as it was"
