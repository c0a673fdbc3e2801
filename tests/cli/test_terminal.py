"""What peers, rows and servers say cannot control the terminal of who runs a command."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from gossipkv import RefusedError, SyncClient
from gossipkv.cli.terminal.exit_code import ExitCode
from gossipkv.client.servers.endpoints import is_plain
from gossipkv.rows.escapes import escaped, escaped_json, escaped_text
from tests.cli.conftest import Run, served

NASTY = (
    "\x1b]0;title\x07 \x1b[2J \x9b31m \x90q \x7f\b\x00 \rgossipkv-9\n  alive   http://x \x85\v\f"
    "\u202eabc\u202d\u2066\u2069\u200e\u200f\u061c\u2028\u2029"
)
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""All but line ends, which the commands write themselves."""


class Hostile:
    """A server that answers each request with what could control a terminal."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.endpoint = NASTY

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path_qs}")
        path = request.path
        if path.endswith("rows:watch"):
            return await self._watch(request)
        if path.endswith("rows:batch"):
            problem = {"type": NASTY, "title": NASTY, "detail": NASTY}
            lines = (await request.read()).splitlines()
            return web.Response(
                text="".join(json.dumps({"row": NASTY, "status": 400, "problem": problem}) + "\n" for _ in lines)
            )
        if path == "/v1/cluster":
            return web.json_response(self._cluster())
        if path.startswith("/v1/cluster/receipts/"):
            holder = {"member": NASTY, "status": NASTY, "self": True, "has_it": True}
            return web.json_response({"receipt": NASTY, "copies": 1, "complete": False, "members": [holder]})
        if path.endswith("/tables"):
            return web.json_response({"items": [{"table": NASTY, "rows": NASTY}], "next_cursor": None})
        if "/sys/tables/members/rows" in path:
            fields = ("status", "replica", "zone", "version", "incarnation")
            record: dict[str, object] = dict.fromkeys(fields, NASTY)
            record |= {"protocols": [{"name": "http", "endpoint": NASTY}, {"name": "gossip", "endpoint": NASTY}]}
            records = [json.dumps(record), "no JSON", "[]", '{"protocols":7}', "[" * 10_000]
            items = [{"row": NASTY, "value": each, "etag": NASTY} for each in records]
            return web.json_response({"items": items, "next_cursor": None})
        if path.endswith("/rows"):
            return web.json_response({"items": [{"row": NASTY, "value": NASTY, "etag": NASTY}], "next_cursor": None})
        if path.endswith("/rows/there"):
            return web.Response(body=NASTY.encode(), headers={"ETag": '"a"', "Gossipkv-Context": "b"})
        if path.endswith("/rows/siblings"):
            siblings = [{"value": NASTY, "etag": NASTY}, {"value": NASTY, "etag": NASTY}]
            return web.json_response({"row": NASTY, "etag": NASTY, "context": NASTY, "siblings": siblings}, status=300)
        return web.json_response({"type": NASTY, "title": NASTY, "detail": NASTY}, status=418)

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        data = json.dumps({"row": NASTY, "value": NASTY, "etag": NASTY})
        await response.write(f"event: put\nid: 1\ndata: {data}\n\n".encode())
        await response.write(f"event: end\ndata: {json.dumps({'reason': NASTY})}\n\n".encode())
        return response

    def _cluster(self) -> dict[str, Any]:
        shard = {"rows": 1, "tombstones": 1, "fingerprint": NASTY, "rows_behind": 1, "last_sync_seconds": 1.0}
        member = {"member": NASTY, "status": NASTY, "self": True, "shards": {"usr": shard, "sys": shard}}
        member |= {"protocols": [{"name": "http", "endpoint": self.endpoint}], "runs_twice": {"remedy": NASTY}}
        return {"cluster": NASTY, "member": NASTY, "ready": True, "alone_seconds": 3.0, "members": [member]} | {
            "collection": {"blocked_by": [NASTY]},
            "lacking": [{"namespace": NASTY, "table": NASTY, "row": NASTY, "reason": NASTY}],
            "unreadable": {"rows": 1, "items": [{"namespace": NASTY, "table": NASTY, "row": NASTY, "reason": NASTY}]},
            "storage": {"room": NASTY, "since_seconds": 1, "used_bytes": 1, "capacity_bytes": 1, "waiting": [NASTY]},
        }

    @asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield site.port
        await runner.cleanup()


@pytest.fixture(scope="module")
def hostile() -> Iterator[tuple[Hostile, str]]:
    server = Hostile()
    with served(server.running) as url:
        server.endpoint = url
        yield server, url


COMMANDS = {
    "members": ["members"],
    "members as JSON": ["members", "-o", "json"],
    "members forget": ["members", "forget", "m"],
    "status": ["status"],
    "status as JSON": ["status", "-o", "json"],
    "list": ["list", "t"],
    "list as JSON": ["list", "t", "-o", "json"],
    "tables": ["tables"],
    "tables as JSON": ["tables", "-o", "json"],
    "tables set": ["tables", "set", "t", "--w", "2"],
    "get of siblings": ["get", "t", "siblings"],
    "get as JSON": ["get", "t", "there", "-o", "json"],
    "get of an error": ["get", "t", "else"],
    "put": ["put", "t", "k", "v"],
    "delete": ["delete", "t", "k"],
    "receipt": ["receipt", "r"],
    "receipt as JSON": ["receipt", "r", "-o", "json"],
    "an import": ["import", "t", "{file}", "--retries", "0"],
    "an import of nonsense": ["import", "t", "{nonsense}", "--retries", "0"],
    "a row of a nasty name": ["get", NASTY.replace("\0", ""), NASTY.replace("\0", "")],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_no_output_of_a_command_controls_the_terminal(
    run: Run, hostile: tuple[Hostile, str], command: str, tmp_path: Path
) -> None:
    (tmp_path / "rows.ndjson").write_text('{"row":"a","value":"b"}\n')
    (tmp_path / "nonsense.tsv").write_text("a\t\\\x1b[2J\n")
    names = {"{file}": tmp_path / "rows.ndjson", "{nonsense}": tmp_path / "nonsense.tsv"}
    outcome = run(*[names.get(word, word) for word in COMMANDS[command]], "-s", hostile[1], code=None)
    for written in (outcome.out.decode(), outcome.err):
        assert CONTROL.findall(written) == []
    assert "fault of gossipkv" not in outcome.err
    assert not outcome.err.count("\n  alive   http://x")
    assert "\n  alive" not in outcome.out.decode()


ON_A_TERMINAL = {
    "get": ["get", "t", "there"],
    "keys": ["list", "t", "--keys-only"],
    "export": ["export", "t", "-"],
    "export as TSV": ["export", "t", "-", "--format", "tsv"],
}


@pytest.mark.parametrize("command", ON_A_TERMINAL)
def test_values_and_keys_are_escaped_on_a_terminal_and_otherwise_raw(
    run: Run, hostile: tuple[Hostile, str], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = run(*ON_A_TERMINAL[command], "-s", hostile[1]).out
    if command in ("get", "keys"):
        assert raw == NASTY.encode() + (b"\n" if command == "keys" else b"")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    shown = run(*ON_A_TERMINAL[command], "-s", hostile[1]).out.decode()
    assert CONTROL.findall(shown.replace("\t", "")) == []
    assert shown.endswith("\n")


def test_a_value_of_several_lines_keeps_them_on_a_terminal(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("put", "terminal", "k", "a:\r\n\tb: ü\n")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert run("get", "terminal", "k").out == "a:\r\n\tb: ü\n".encode()


@given(st.text())
def test_escapes_leave_no_control_character_and_all_others_alone(text: str) -> None:
    assert CONTROL.findall(escaped(text)) == []
    assert "\n" not in escaped(text)
    assert CONTROL.findall(escaped_text(text).replace("\t", "").replace("\r\n", "\n")) == []
    assert escaped(escaped(text)) == escaped(text)
    assert json.loads(escaped_json(json.dumps(text, ensure_ascii=False))) == text
    assert escaped_json(json.dumps(text, ensure_ascii=False)).isprintable() or not CONTROL.findall(
        escaped_json(json.dumps(text, ensure_ascii=False))
    )


def test_words_of_all_scripts_stay_as_they_are() -> None:
    for text in ("naïve", "שלום", "مرحبا", "نمی‌خواهم", "👩‍👩‍👧", "日本 語", "\u00a0"):
        assert escaped(text) == text


# Redirects, and endpoints from records


class Redirecting:
    def __init__(self, target: str) -> None:
        self.target = target

    async def answer(self, _: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": self.target})

    @asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield site.port
        await runner.cleanup()


@pytest.mark.parametrize("command", [*COMMANDS, "export", "watch"])
def test_a_redirect_is_an_error_that_says_so_and_is_not_followed(
    run: Run, hostile: tuple[Hostile, str], command: str, tmp_path: Path
) -> None:
    server, url = hostile
    (tmp_path / "rows.ndjson").write_text('{"row":"a","value":"b"}\n')
    (tmp_path / "nonsense.tsv").write_text("a\tb\n")
    names = {"{file}": tmp_path / "rows.ndjson", "{nonsense}": tmp_path / "nonsense.tsv"}
    words = COMMANDS.get(command, [command, "t"])
    before = len(server.requests)
    with served(Redirecting(url + "/v1/stolen").running) as redirecting:
        outcome = run(*[names.get(word, word) for word in words], "-s", redirecting, code=None)
    assert outcome.code in (ExitCode.ERROR, ExitCode.USAGE)
    if command != "a row of a nasty name":
        assert "a redirect to" in outcome.err
        assert "is not followed" in outcome.err
    assert len(server.requests) == before


PLAIN = ["http://10.0.0.7:7080", "https://a-b.c:1", "http://[fe80::1]:65535", "http://127.0.0.1:7080"]
NOT_PLAIN = [
    "http://10.0.0.7:7080/",
    "http://10.0.0.7:7080/admin?x=1",
    "http://10.0.0.7:7080#f",
    "http://user:password@10.0.0.7:7080",
    "http://10.0.0.7",
    "http://10.0.0.7:0",
    "http://10.0.0.7:65536",
    "http://10.0.0.7:7080\n",
    "ftp://10.0.0.7:7080",
    "file:///etc/passwd",
    "HTTP://10.0.0.7:7080\\@evil:80",
    "http://[::1%25eth0]:7080",
    "http://a b:7080",
    "http://ä:7080",
    "http://10.0.0.7:٣",
    "",
    NASTY,
    7,
    None,
]


def test_plain_endpoints_are_a_scheme_a_host_and_a_port() -> None:
    assert [url for url in PLAIN if not is_plain(url)] == []
    assert [url for url in NOT_PLAIN if is_plain(url)] == []


@pytest.mark.parametrize("suffix", ["/v1/secret", "/?x=", "#", "/"])
def test_status_does_not_call_an_endpoint_that_is_not_plain(
    run: Run, hostile: tuple[Hostile, str], suffix: str
) -> None:
    server, url = hostile
    server.endpoint = url + suffix
    try:
        before = len(server.requests)
        outcome = run("status", "-s", url, code=ExitCode.NOT_CONVERGED)
        assert server.requests[before:] == ["GET /v1/cluster"]
        assert "is not http(s)://host:port, and is not asked" in outcome.err
        server.endpoint = url.replace("http://", "http://admin:secret@")
        run("status", "-s", url, code=ExitCode.NOT_CONVERGED)
        assert server.requests[before:] == ["GET /v1/cluster"] * 2
    finally:
        server.endpoint = url


def test_the_client_library_raises_a_redirect(hostile: tuple[Hostile, str]) -> None:
    with served(Redirecting(hostile[1]).running) as redirecting, SyncClient([redirecting]) as client:
        for call in (
            client.cluster,
            client.tables,
            lambda: client.forget("m"),
            lambda: client.receipt("r"),
            lambda: client.table("t").get("k"),
            lambda: client.table("t").put("k", b"v"),
            lambda: client.table("t").delete("k"),
            lambda: client.table("t").describe(),
            lambda: client.table("t").configure(w=2),
            lambda: client.table("t").drop(),
            lambda: list(client.table("t").range()),
        ):
            with pytest.raises(RefusedError, match="a redirect to"):
                call()
