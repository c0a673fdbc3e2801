from __future__ import annotations

import http.client
import json
import signal
import subprocess
from pathlib import Path

import pytest

from gossipkv.cli.files.importer import BATCH_LINES_MAX
from gossipkv.cli.terminal.exit_code import ExitCode
from tests.processes.command import free_ports, until
from tests.processes.conftest import Start

Flags = tuple[object, ...]


@pytest.fixture
def flags(tmp_path: Path, ports: list[int]) -> Flags:
    return serve_flags("gossipkv-0", tmp_path / "data", *ports)


@pytest.fixture
def ports() -> list[int]:
    return free_ports(2)


def serve_flags(member: str, data_dir: Path, http_port: int, gossip_port: int, *others: object) -> Flags:
    return (
        *("serve", "--member", member, "--data-dir", data_dir, "--bootstrap-timeout-ms", 200),
        *("--http-port", http_port, "--gossip-port", gossip_port, *others),
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_member_says_once_who_it_is_and_leaves_when_asked(start: Start, flags: Flags, number: signal.Signals) -> None:
    member = start(*flags)
    member.says('"serving"')
    member.says('"ready"')
    member.process.send_signal(number)
    assert member.ends() == 0
    serving = [json.loads(line) for line in member.output.splitlines() if '"serving"' in line]
    assert len(serving) == 1
    assert serving[0]["member"] == "gossipkv-0"
    assert serving[0]["data_dir"].endswith("/data")
    assert {"replica", "cluster", "http", "gossip"} <= serving[0].keys()


def test_a_stopping_member_takes_writes_until_it_has_told_the_client_to_go_elsewhere(
    start: Start, flags: Flags, ports: list[int]
) -> None:
    member = start(*flags, "--drain-s", 60, "--stop-timeout-s", 240)
    member.says('"ready"')
    connection = http.client.HTTPConnection("127.0.0.1", ports[0], timeout=30)
    path = "/v1/usr/tables/t/rows/row"
    try:
        connection.request("PUT", path, b"before")
        assert connection.getresponse().read() == b""
        member.process.send_signal(signal.SIGTERM)
        member.says('"stopping"')
        connection.request("PUT", path, b"meanwhile")
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Connection"]) == (204, "close")
    finally:
        connection.close()
    assert member.ends() == 0, "it does not wait for connections that are closed"


def test_a_second_signal_ends_a_member_at_once(start: Start, flags: Flags, ports: list[int]) -> None:
    member = start(*flags, "--drain-s", 60, "--stop-timeout-s", 240)
    member.says('"ready"')
    connection = http.client.HTTPConnection("127.0.0.1", ports[0], timeout=30)
    try:
        connection.request("GET", "/livez")
        assert connection.getresponse().read() == b"live\n"
        member.process.send_signal(signal.SIGTERM)
        member.says('"stopping"')
        member.process.send_signal(signal.SIGTERM)
        assert member.ends() == ExitCode.ERROR, "it does not wait for the connection that is open"
    finally:
        connection.close()


def test_a_member_stops_when_its_standard_input_is_closed_if_told_to(start: Start, flags: Flags) -> None:
    member = start(*flags, "--stop-with-stdin", stdin=subprocess.PIPE)
    member.says('"serving"')
    member.close_input()
    assert member.ends() == 0


def test_what_was_put_is_there_after_a_kill(start: Start, flags: Flags, ports: list[int]) -> None:
    server = f"http://127.0.0.1:{ports[0]}"
    member = start(*flags)
    member.says('"ready"')
    assert start("put", "t", "r", "value", "-s", server).ends() == 0
    member.process.kill()
    member.ends()
    start(*flags).says('"ready"')
    reading = start("get", "t", "r", "-s", server)
    assert reading.ends() == 0
    assert reading.output == "value"


@pytest.mark.parametrize("taken", ["http", "gossip"])
def test_a_port_that_is_taken_is_named_with_what_to_do(
    start: Start, flags: Flags, ports: list[int], tmp_path: Path, taken: str
) -> None:
    start(*flags).says('"serving"')
    others = free_ports(2)
    others[0 if taken == "http" else 1] = ports[0 if taken == "http" else 1]
    second = start(*serve_flags("gossipkv-1", tmp_path / "other", *others))
    assert second.ends() == ExitCode.ADDRESS_IN_USE
    assert f"127.0.0.1:{ports[0 if taken == 'http' else 1]} is in use" in second.output
    assert f"--{taken}-port" in second.output
    assert "Traceback" not in second.output


def test_a_data_directory_belongs_to_one_process_and_one_member(start: Start, flags: Flags, tmp_path: Path) -> None:
    first = start(*flags)
    first.says('"serving"')
    second = start(*serve_flags("gossipkv-0", tmp_path / "data", *free_ports(2)))
    assert second.ends() == ExitCode.DATA_DIRECTORY
    assert "in use by another process" in second.output
    first.process.terminate()
    first.ends()
    third = start(*serve_flags("gossipkv-9", tmp_path / "data", *free_ports(2)))
    assert third.ends() == ExitCode.DATA_DIRECTORY
    assert "belongs to member 'gossipkv-0'" in third.output
    assert "Traceback" not in second.output + third.output


def test_an_import_that_is_interrupted_says_how_to_go_on(start: Start, flags: Flags, ports: list[int]) -> None:
    server = f"http://127.0.0.1:{ports[0]}"
    start(*flags).says('"ready"')
    importing = start("import", "t", "-", "-s", server, stdin=subprocess.PIPE)
    lines = "".join(f"{number}\tx\n" for number in range(BATCH_LINES_MAX + 10))
    importing.write(lines.encode())

    def has_first_batch() -> bool:
        reading = start("list", "t", "--keys-only", "-s", server)
        return reading.ends() == 0 and len(reading.output.split()) == BATCH_LINES_MAX

    until(has_first_batch, "the first batch")
    importing.process.send_signal(signal.SIGINT)
    assert importing.ends() == ExitCode.INTERRUPTED
    assert f"give --skip {BATCH_LINES_MAX}" in importing.output
    assert "Traceback" not in importing.output
