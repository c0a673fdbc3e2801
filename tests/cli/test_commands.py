from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from aiohttp import web

from gossipkv.cli import group
from gossipkv.cli.terminal.exit_code import MEANINGS, ExitCode
from gossipkv.client import Client
from gossipkv.client.survey import MemberAnswer, Survey
from tests.cli.conftest import Run, served


def given_input(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))


@pytest.mark.parametrize("value", [b"", b"text", b"\x00\xff\n", "ü\n".encode()])
def test_get_writes_the_bytes_that_put_took_from_standard_input(
    run: Run, monkeypatch: pytest.MonkeyPatch, value: bytes
) -> None:
    given_input(monkeypatch, value)
    run("put", "bytes", "row", "-")
    assert run("get", "bytes", "row").out == value


def test_put_takes_a_value_from_its_arguments_or_a_file(run: Run, tmp_path: Path) -> None:
    run("put", "sources", "argument", "blue")
    assert run("get", "sources", "argument").out == b"blue"
    (tmp_path / "value").write_bytes(b"\xfe")
    run("put", "sources", "file", "--file", tmp_path / "value")
    assert run("get", "sources", "file").out == b"\xfe"
    run("put", "sources", "file", code=ExitCode.USAGE)
    run("put", "sources", "file", "value", "--file", tmp_path / "value", code=ExitCode.USAGE)
    run("put", "sources", "file", "--file", tmp_path / "absent", code=ExitCode.ERROR)


@pytest.mark.parametrize("row", [".", "..", "a/b", "a b", "ü", "%41", "?x=1#y", "line\nend", "+"])
def test_any_text_may_be_a_row_key(run: Run, row: str) -> None:
    run("put", "keys", row, row)
    assert run("get", "keys", row).out == row.encode()
    assert json.loads(run("list", "keys", "--prefix", row, "-o", "json").out.splitlines()[0])["row"] == row
    run("delete", "keys", row)
    run("get", "keys", row, code=ExitCode.NOT_FOUND)


def test_conditions_hold_or_nothing_is_changed(run: Run) -> None:
    first = run("put", "conditions", "row", "1", "--if-absent").err.split()[-1]
    run("put", "conditions", "row", "2", "--if-absent", code=ExitCode.CONDITION_FAILED)
    run("put", "conditions", "row", "2", "--if-match", "another", code=ExitCode.CONDITION_FAILED)
    run("delete", "conditions", "row", "--if-match", "another", code=ExitCode.CONDITION_FAILED)
    assert run("get", "conditions", "row").out == b"1"
    run("put", "conditions", "row", "2", "--if-match", first)
    found = json.loads(run("get", "conditions", "row", "-o", "json").out)
    assert found["value"] == "2"
    assert found["etag"] != first
    run("delete", "conditions", "row", "--if-match", found["etag"])
    run("get", "conditions", "row", code=ExitCode.NOT_FOUND)


def test_list_gives_rows_in_order_within_its_bounds(run: Run) -> None:
    for row in ("b", "a", "ab", "c"):
        run("put", "ordered", row, "value " + row)
    assert run("list", "ordered", "--keys-only").out == b"a\nab\nb\nc\n"
    assert run("list", "ordered", "--keys-only", "--prefix", "a").out == b"a\nab\n"
    assert run("list", "ordered", "--keys-only", "--start", "ab", "--end", "c").out == b"ab\nb\n"
    assert run("list", "ordered", "--keys-only", "--limit", "3").out == b"a\nab\nb\n"
    assert [line.split()[0] for line in run("list", "ordered").out.splitlines()] == [b"row", b"a", b"ab", b"b", b"c"]


def test_list_follows_pages_to_their_end(run: Run, tmp_path: Path) -> None:
    source = tmp_path / "rows.tsv"
    source.write_text("".join(f"{number:05}\tx\n" for number in range(1_234)))
    run("import", "paged", source)
    expected = [f"{number:05}".encode() for number in range(1_234)]
    assert run("list", "paged", "--keys-only").out.split() == expected
    assert run("list", "paged", "--keys-only", "--limit", "1001").out.split() == expected[:1001]


def test_tables_lists_what_a_table_holds(run: Run) -> None:
    run("put", "listed", "row", "12345")
    tables = [json.loads(line) for line in run("tables", "-o", "json").out.splitlines()]
    assert next(table["rows"] for table in tables if table["table"] == "listed") == 1
    assert b"listed" in run("tables").out


def test_a_table_is_shown_and_dropped_and_one_with_rows_only_by_force(run: Run) -> None:
    run("tables", "get", "dropped", code=ExitCode.NOT_FOUND)
    run("tables", "set", "dropped", "--conflicts", "siblings")
    assert "dropped is dropped" in run("tables", "drop", "dropped").err
    assert "neither rows nor settings" in run("tables", "get", "dropped", code=ExitCode.NOT_FOUND).err
    run("tables", "drop", "dropped")
    run("put", "dropped", "row", "value")
    assert json.loads(run("tables", "get", "dropped").out)["rows"] == 1
    assert "give --force" in run("tables", "drop", "dropped", code=ExitCode.ERROR).err
    assert run("get", "dropped", "row").out == b"value"
    run("tables", "drop", "dropped", "--force")
    run("get", "dropped", "row", code=ExitCode.NOT_FOUND)
    for words in (["-n", "sys", "drop"], ["drop", "-n", "sys"], ["drop", "--force", "-n", "sys"]):
        assert "do not write" in run("tables", *words, "members", code=ExitCode.ERROR).err


def test_options_before_a_command_about_one_table_hold_for_it(run: Run) -> None:
    assert json.loads(run("tables", "-n", "sys", "get", "members").out)["rows"] == 1
    assert "do not write" in run("tables", "-n", "sys", "set", "members", "--w", 1, code=ExitCode.ERROR).err
    run("tables", "-n", "sys", "get", "-n", "usr", "members", code=ExitCode.NOT_FOUND)
    for words in (["get"], ["drop"], ["set", "--w", "1"]):
        run("tables", "-s", "http://127.0.0.1:1", words[0], "t", *words[1:], code=ExitCode.UNAVAILABLE)


def test_a_wait_that_is_none_is_refused_before_anything_is_written(run: Run) -> None:
    for command in (["put", "waits", "row", "value"], ["delete", "waits", "row"]):
        assert "`all` or a number" in run(*command, "--wait", "some", code=ExitCode.USAGE).err
        run("get", "waits", "row", code=ExitCode.NOT_FOUND)
    assert run("delete", "waits", "row", "--wait", "all").err.startswith("receipt usr.")


def test_the_stores_own_tables_can_be_read_and_not_written(run: Run) -> None:
    assert b'"protocols"' in run("get", "members", "gossipkv-0", "-n", "sys").out
    assert "do not write" in run("put", "members", "gossipkv-0", "x", "-n", "sys", code=ExitCode.ERROR).err


def test_members_shows_where_each_is_reached(run: Run) -> None:
    assert b"memory://0" in run("members").out
    assert json.loads(run("members", "-o", "json").out)["member"] == "gossipkv-0"


def test_only_another_member_that_is_there_can_be_forgotten(run: Run, member: str) -> None:
    assert "does not forget itself" in run("members", "forget", "gossipkv-0", code=ExitCode.ERROR).err
    assert "no such member" in run("members", "forget", "gossipkv-9", code=ExitCode.NOT_FOUND).err
    assert "no such member" in run("members", "forget", "gossipkv-9", "--force", code=ExitCode.NOT_FOUND).err
    assert "itself" in run("members", "forget", "--force", "gossipkv-0", code=ExitCode.ERROR).err
    run("members", "forget", "gossipkv-9", "--force=yes", code=ExitCode.USAGE)
    nowhere = "http://127.0.0.1:1"
    run("members", "forget", "gossipkv-0", "--server", nowhere, code=ExitCode.UNAVAILABLE)
    run("members", "--server", nowhere, "forget", "gossipkv-0", code=ExitCode.UNAVAILABLE)
    run("members", "--server", nowhere, code=ExitCode.UNAVAILABLE)
    run("members", "recall", "gossipkv-0", code=ExitCode.USAGE)
    run("members", "forget", code=ExitCode.USAGE)


def test_status_marks_a_member_that_does_not_answer_for_itself(run: Run) -> None:
    # The member of these tests has told of no HTTP endpoint, so no one has figures to compare.
    outcome = run("status", code=ExitCode.NOT_CONVERGED)
    assert b"no answer" in outcome.out
    assert "has told of no HTTP endpoint" in outcome.err
    assert outcome.out.splitlines()[-1].startswith(b"0 of 1 members answer: gossipkv-0 does not answer")
    told = json.loads(run("status", "-o", "json", code=ExitCode.NOT_CONVERGED).out)
    assert told["converged"] is False
    assert told["verdict"] == {"ok": False, "text": outcome.out.splitlines()[-1].decode()}


def test_the_table_of_the_status_fits_a_hundred_columns(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = {
        "usr": {
            "rows": 1_234_567,
            "tombstones": 12_345,
            "fingerprint": "0123456789abcdef",
            "rows_behind": 12_345,
            "last_sync_seconds": 0.4,
        },
        "sys": {"fingerprint": "fedcba9876543210", "rows_behind": 0},
    }
    storage = {"room": "ample", "used_bytes": 45, "capacity_bytes": 100}
    members = [
        MemberAnswer(
            f"gossipkv-{number}",
            "http://h",
            "alive",
            is_ready=True,
            figures=figures,
            failure=None,
            storage=storage,
            clock={"ahead_seconds": 20.0 * number, "off": False, "compared_with": 2},
        )
        for number in range(3)
    ]

    async def surveyed(client: Client, *, with_left: bool) -> Survey:
        return Survey("gossipkv", members[: 2 + with_left])

    monkeypatch.setattr("gossipkv.cli.cluster.cluster.survey", surveyed)
    lines = run("status").out.decode().splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0].split() == [
        "member", "status", "rows", "deleted", "fingerprints", "behind", "synced", "clock", "room", "refuses",
    ]  # fmt: skip
    assert "+20.0 s" in lines[2]
    assert "45%" in lines[2]
    assert lines[-1] == "2 of 2 members answer and hold the same rows"
    assert "gossipkv-2" in run("status", "--all").out.decode()


def test_the_first_server_that_answers_is_used(run: Run, member: str) -> None:
    run("put", "servers", "row", "value", "--server", "http://127.0.0.1:1", "--server", member)
    assert run("get", "servers", "row").out == b"value"


def test_the_server_may_be_named_before_the_command_too(run: Run, member: str) -> None:
    run("--server", member, "put", "servers", "before", "value")
    assert run("get", "servers", "before").out == b"value"


def test_no_server_that_answers_is_said_on_one_line(run: Run) -> None:
    outcome = run("get", "t", "r", "--server", "http://127.0.0.1:1", code=ExitCode.UNAVAILABLE)
    assert len(outcome.err.splitlines()) == 1
    assert "http://127.0.0.1:1: cannot be reached (Connection refused); start a member there, or" in outcome.err


@pytest.mark.parametrize("url", ["", "localhost:7080", "http://127.0.0.1:port", "http://", "{member},"])
@pytest.mark.parametrize("command", [["get", "t", "r"], ["tables"], ["members", "forget", "m"], ["import", "t"]])
def test_a_server_that_has_no_url_is_refused_wherever_it_is_named(
    run: Run, member: str, command: list[str], url: str
) -> None:
    named = ["--server", url.replace("{member}", member)]
    for words in ([*named, *command], [*command, *named], [command[0], *named, *command[1:]]):
        assert "URLs of members, such as http://127.0.0.1:7080, not" in run(*words, code=ExitCode.USAGE).err


def test_servers_are_separated_by_commas_in_flags_as_in_the_environment(
    run: Run, member: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = f"http://127.0.0.1:1, {member}/"
    run("put", "servers", "commas", "value", "-s", both)
    assert run("-s", both, "get", "servers", "commas").out == b"value"
    monkeypatch.setenv("GOSSIPKV_SERVER", f",{both},")
    assert run("get", "servers", "commas").out == b"value"


@pytest.mark.parametrize("arguments", [["get", "t", "r"], ["list", "t"], ["status"], ["tables"], ["delete", "t", "r"]])
def test_a_server_that_is_no_member_is_said_to_be_none(run: Run, arguments: list[str]) -> None:
    async def other(_: web.Request) -> web.Response:
        return web.Response(status=404)

    @asynccontextmanager
    async def running() -> AsyncIterator[int]:
        server = web.Server(other)  # type: ignore[arg-type]
        runner = web.ServerRunner(server)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield site.port
        await runner.cleanup()

    with served(running) as url:
        # Not the code of an absent row.
        outcome = run(*arguments, "-s", url, code=ExitCode.ERROR)
    assert f"{url} answered: status 404; is it the URL of a member's HTTP port?" in outcome.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["get", "t", "r", "--server", "localhost"],
        ["get", "t"],
        ["nonsense"],
        [],
        ["serve", "--http-port", "x"],
        ["serve", "--config", "/nowhere/at/all.toml"],
        ["dev", "--nodes", "0"],
    ],
)
def test_wrong_usage_has_its_code_and_no_traceback(run: Run, arguments: list[str]) -> None:
    outcome = run(*arguments, code=ExitCode.USAGE)
    assert b"Usage" in outcome.out or outcome.err
    assert "Traceback" not in outcome.err


def test_settings_shows_the_source_of_each(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOSSIPKV_ZONE", "north")
    shown = json.loads(run("settings", "--http-port", "1", "-o", "json").out)
    assert shown["zone"] == {"value": "north", "source": "GOSSIPKV_ZONE"}
    assert shown["http_port"] == {"value": 1, "source": "--http-port"}
    assert b"http_port = 1\n" in run("settings", "--http-port", "1", "--toml").out


def test_help_names_every_command_and_exit_code(run: Run) -> None:
    shown = run("--help").out.decode()
    for name in group.list_commands(click.Context(group)):
        assert f"  {name} " in shown
    assert set(MEANINGS) == set(ExitCode)
    for code, meaning in MEANINGS.items():
        assert f"{int(code)} " in shown
        assert meaning[:30] in shown


def test_every_command_has_help(run: Run) -> None:
    for name in group.list_commands(click.Context(group)):
        assert b"Usage" in run(name, "--help").out


def test_help_of_the_whole_imports_neither_server_nor_client() -> None:
    check = "import sys, gossipkv.cli; print({'aiohttp', 'rich', 'lmdb', 'uvloop'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", check], capture_output=True, check=True).stdout == b"set()\n"


def test_serve_imports_neither_the_client_of_kubernetes_nor_the_simulation() -> None:
    check = "import sys, gossipkv.cli.server.serve; print({'kubernetes', 'gossipkv.simulation'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", check], capture_output=True, check=True).stdout == b"set()\n"


def test_a_receipt_tells_who_has_a_write(run: Run) -> None:
    written = run("put", "receipts", "row", "1", "-w", "1", "--wait", "all").err
    receipt = written.splitlines()[0].removeprefix("receipt ")
    coverage = json.loads(run("receipt", receipt, "-o", "json", "--wait", "1").out)
    assert (coverage["receipt"], coverage["copies"], coverage["complete"]) == (receipt, 1, True)
    assert b"yes" in run("receipt", receipt).out
    assert run("get", "receipts", "row", "-r", "1").out == b"1"
    run("delete", "receipts", "row", "-w", "1")
    absent = receipt.rpartition(".")[0] + ".999999999999"
    run("receipt", absent, "--wait", "all", "--timeout", "1ms", code=ExitCode.NOT_CONVERGED)
    run("put", "receipts", "row", "2", "-w", "2", code=ExitCode.ERROR)
    run("get", "receipts", "row", code=ExitCode.NOT_FOUND)
    run("receipt", receipt, "--wait", "some", code=ExitCode.USAGE)


def test_several_values_at_once_are_shown_as_json_and_merged_with_their_context(run: Run) -> None:
    described = json.loads(run("tables", "set", "carts", "--conflicts", "siblings").out)
    assert described["settings"]["conflicts"] == "siblings"
    run("tables", "set", "carts", code=ExitCode.USAGE)
    for option in ("--w", "--r"):
        assert "the number of members is 1" in run("tables", "set", "carts", option, 2, code=ExitCode.USAGE).err
    run("put", "carts", "row", "milk")
    run("put", "carts", "row", "bread")
    found = json.loads(run("get", "carts", "row", code=ExitCode.SIBLINGS).out)
    assert found["siblings"] == ["bread", "milk"]
    assert json.loads(run("list", "carts", "-o", "json").out)["siblings"] == ["bread", "milk"]
    exported = json.loads(run("export", "carts").out)
    assert exported["siblings"] == [{"value": "bread"}, {"value": "milk"}]
    run("put", "carts", "row", "bread, milk", "--context", found["context"])
    merged = run("get", "carts", "row", "-o", "json").out
    assert json.loads(merged)["value"] == "bread, milk"
    run("delete", "carts", "row", "--context", json.loads(merged)["context"])
    run("get", "carts", "row", code=ExitCode.NOT_FOUND)


def test_a_row_is_put_for_a_time(run: Run) -> None:
    run("put", "sessions", "row", "v", "--ttl", "1h")
    assert run("get", "sessions", "row").out == b"v"
    run("put", "sessions", "row", "v", "--ttl", "soon", code=ExitCode.USAGE)
