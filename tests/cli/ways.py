"""Every way into the store, and every way out of it."""

from __future__ import annotations

import http.client
import io
import json
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gossipkv import Delete, Put, SyncClient
from gossipkv.client import Kind, value_from_json
from tests.cli.conftest import Run
from tests.cli.members_in_thread import MembersInThread

Rows = dict[str, bytes]


class Ways:
    """Of one test: the members, and what runs commands."""

    def __init__(self, members: MembersInThread, run: Run, directory: Path) -> None:
        self.members = members
        self.run = run
        self.directory = directory

    @property
    def url(self) -> str:
        return self.members.urls[0]

    def ask(
        self, method: str, path: str, body: bytes | None = None, *, member: int = 0, accept: str = "application/json"
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        with self._asked(method, path, body, member, {"Accept": accept}) as response:
            return response.status, response.headers, response.read()

    @contextmanager
    def _asked(
        self, method: str, path: str, body: bytes | None, member: int, headers: dict[str, str]
    ) -> Iterator[http.client.HTTPResponse]:
        host = self.members.urls[member].removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=60)
        try:
            connection.request(method, path, body, headers)
            yield connection.getresponse()
        finally:
            connection.close()

    def pages(self, table: str, accept: str) -> Iterator[bytes]:
        cursor = ""
        while True:
            path = f"/v1/usr/tables/{table}/rows?limit=1000{cursor}"
            status, headers, body = self.ask("GET", path, accept=accept)
            assert status == 200, body
            yield body
            next_cursor = headers.get("Gossipkv-Next-Cursor") or (
                json.loads(body)["next_cursor"] if accept == "application/json" else None
            )
            if next_cursor is None:
                return
            cursor = f"&cursor={next_cursor}"

    def batch(self, table: str, lines: list[bytes]) -> None:
        status, _, body = self.ask("POST", f"/v1/usr/tables/{table}/rows:batch", b"\n".join(lines))
        assert status == 200
        results = [json.loads(line) for line in body.splitlines()]
        assert [result for result in results if result["status"] >= 300] == []
        assert len(results) == len(lines)

    def events(self, table: str, member: int = 0) -> Iterator[tuple[str, Any]]:
        """Of a watch that begins with the rows as they are, up to `current`."""
        path = f"/v1/usr/tables/{table}/rows:watch?snapshot=true"
        with self._asked("GET", path, None, member, {}) as response:
            name, data = "", b""
            while name != "current":
                line = response.readline().rstrip(b"\n")
                field, _, content = line.partition(b": ")
                if field == b"event":
                    name = content.decode()
                elif field == b"data":
                    data += content + b"\n"
                elif not line:
                    if name:
                        yield name, json.loads(data)
                    data = b""

    def client(self, member: int = 0) -> SyncClient:
        return SyncClient([self.members.urls[member]], timeout_s=60)

    def file(self, name: str, content: bytes) -> Path:
        path = self.directory / name
        path.write_bytes(content)
        return path

    def lines_of_watch_command(self, table: str) -> Iterator[dict[str, Any]]:
        """What `gossipkv watch` writes, up to `current`. It is a process, for it has no end of its own."""
        command = [sys.executable, "-m", "gossipkv", "watch", table, "--snapshot", "-o", "json", "--server", self.url]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    yield json.loads(line)
                    if json.loads(line)["event"] == "current":
                        return
            finally:
                process.kill()


def row_path(table: str, key: str) -> str:
    return f"/v1/usr/tables/{table}/rows/{quote(key, safe='').replace('.', '%2E')}"


def base64_form(value: bytes) -> dict[str, str]:
    return {"base64": b64encode(value).decode()}


def text_form(value: bytes) -> str | dict[str, str]:
    """Text where it can be, which the encoder of JSON then escapes to ASCII."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return base64_form(value)


def longest_json(content: object) -> bytes:
    """JSON in which each character of each text is an escape, but for base64, which nothing escapes."""
    if isinstance(content, dict) and "base64" in content:
        return json.dumps(content).encode()
    if isinstance(content, str):
        escapes = content.encode("utf-16-be").hex("u", 2).replace("u", "\\u")
        return f'"\\u{escapes}"'.encode() if content else b'""'
    assert isinstance(content, dict)
    return b"{" + b",".join(longest_json(name) + b":" + longest_json(each) for name, each in content.items()) + b"}"


def tsv_field(content: bytes) -> bytes:
    for character, escape in ((b"\\", rb"\\"), (b"\t", rb"\t"), (b"\n", rb"\n"), (b"\r", rb"\r")):
        content = content.replace(character, escape)
    return content


# Ways in


def put(ways: Ways, table: str, rows: Rows) -> None:
    for key, value in rows.items():
        status, _, body = ways.ask("PUT", row_path(table, key), value)
        assert status == 201, body


def batch_of_text(ways: Ways, table: str, rows: Rows) -> None:
    ways.batch(table, [json.dumps({"row": key, "value": text_form(value)}).encode() for key, value in rows.items()])


def batch_of_escapes(ways: Ways, table: str, rows: Rows) -> None:
    ways.batch(table, [longest_json({"row": key, "value": text_form(value)}) for key, value in rows.items()])


def batch_of_base64(ways: Ways, table: str, rows: Rows) -> None:
    ways.batch(table, [json.dumps({"row": key, "value": base64_form(value)}).encode() for key, value in rows.items()])


def client_put(ways: Ways, table: str, rows: Rows) -> None:
    with ways.client() as client:
        for key, value in rows.items():
            client.table(table).put(key, value)


def client_batch(ways: Ways, table: str, rows: Rows) -> None:
    with ways.client() as client:
        operations: list[Put | Delete] = [*(Put(key, value) for key, value in rows.items()), Delete("\x01" * 400)]
        outcomes = list(client.table(table).batch(operations))
        assert [outcome for outcome in outcomes if outcome.error is not None] == []


def client_batch_with_contexts(ways: Ways, table: str, rows: Rows) -> None:
    """Each line besides the row has an etag and a context."""
    with ways.client() as client:
        at = client.table(table)
        written = {key: at.put(key, b"before") for key in rows}
        operations = [
            Put(key, value, etag=written[key].etag, context=written[key].context, ttl="24h")
            for key, value in rows.items()
        ]
        assert [outcome for outcome in at.batch(operations) if outcome.error is not None] == []


def embedded_put(ways: Ways, table: str, rows: Rows) -> None:
    for key, value in rows.items():
        ways.members.ask(ways.members.nodes[0].table(table).put(key, value))


def command_put(ways: Ways, table: str, rows: Rows) -> None:
    for key, value in rows.items():
        ways.run("put", table, key, "--file", ways.file("value", value), "--server", ways.url)


def _import(ways: Ways, table: str, name: str, content: bytes) -> None:
    ways.run("import", table, ways.file(name, content), "--server", ways.url)


def import_of_text(ways: Ways, table: str, rows: Rows) -> None:
    lines = [json.dumps({"row": key, "value": text_form(value)}).encode() for key, value in rows.items()]
    _import(ways, table, "rows.ndjson", b"\n".join(lines))


def import_of_escapes(ways: Ways, table: str, rows: Rows) -> None:
    lines = [longest_json({"row": key, "value": text_form(value)}) for key, value in rows.items()]
    _import(ways, table, "rows.ndjson", b"\n".join(lines))


def import_of_tsv(ways: Ways, table: str, rows: Rows) -> None:
    lines = [tsv_field(key.encode()) + b"\t" + tsv_field(value) for key, value in rows.items()]
    _import(ways, table, "rows.tsv", b"\n".join(lines))


def export_and_import(ways: Ways, table: str, rows: Rows) -> None:
    put(ways, f"{table}-source", rows)
    ways.run("export", f"{table}-source", ways.directory / "rows.ndjson", "--server", ways.url)
    ways.run("import", table, ways.directory / "rows.ndjson", "--server", ways.url)


def export_and_batch(ways: Ways, table: str, rows: Rows) -> None:
    """The lines of an export are lines of a batch, but for their etags, which are those of other rows."""
    put(ways, f"{table}-source", rows)
    lines = ways.run("export", f"{table}-source", "--server", ways.url).out.splitlines()
    ways.batch(table, [_without_etag(line) for line in lines])


def listing_and_batch(ways: Ways, table: str, rows: Rows) -> None:
    put(ways, f"{table}-source", rows)
    lines = b"".join(ways.pages(f"{table}-source", "application/x-ndjson")).splitlines()
    ways.batch(table, [_without_etag(line) for line in lines])


def _without_etag(line: bytes) -> bytes:
    head, etag, tail = line.rpartition(b',"etag":"')
    assert etag
    assert tail.endswith(b'"}')
    return head + b"}"


WAYS_IN: list[Callable[[Ways, str, Rows], None]] = [
    put,
    batch_of_text,
    batch_of_escapes,
    batch_of_base64,
    client_put,
    client_batch,
    client_batch_with_contexts,
    embedded_put,
    command_put,
    import_of_text,
    import_of_escapes,
    import_of_tsv,
    export_and_import,
    export_and_batch,
    listing_and_batch,
]


# Ways out: what is found of the keys that were put, or in the whole table.


def get(ways: Ways, table: str, rows: Rows) -> Rows:
    return {key: _body(ways.ask("GET", row_path(table, key))) for key in rows}


def get_of_two_members(ways: Ways, table: str, rows: Rows) -> Rows:
    last = len(ways.members.urls) - 1
    return {key: _body(ways.ask("GET", f"{row_path(table, key)}?r={last + 1}", member=last)) for key in rows}


def _body(answer: tuple[int, http.client.HTTPMessage, bytes]) -> bytes:
    status, _, body = answer
    assert status == 200, body[:1000]
    return body


def listing(ways: Ways, table: str, rows: Rows) -> Rows:
    items = [item for page in ways.pages(table, "application/json") for item in json.loads(page)["items"]]
    return {item["row"]: value_from_json(item["value"]) for item in items}


def listing_by_lines(ways: Ways, table: str, rows: Rows) -> Rows:
    items = [json.loads(line) for page in ways.pages(table, "application/x-ndjson") for line in page.splitlines()]
    return {item["row"]: value_from_json(item["value"]) for item in items}


def watch(ways: Ways, table: str, rows: Rows) -> Rows:
    return {data["row"]: value_from_json(data["value"]) for name, data in ways.events(table) if name == "put"}


def client_get(ways: Ways, table: str, rows: Rows) -> Rows:
    with ways.client() as client:
        found = {key: client.table(table).get(key) for key in rows}
    return {key: row.value or b"" for key, row in found.items() if row is not None}


def client_range(ways: Ways, table: str, rows: Rows) -> Rows:
    with ways.client() as client:
        return {row.row: row.value or b"" for row in client.table(table).range()}


def client_watch(ways: Ways, table: str, rows: Rows) -> Rows:
    found: Rows = {}
    with ways.client() as client:
        changes = client.table(table).watch(snapshot=True)
        for change in changes:
            if change.kind is Kind.CURRENT:
                break
            found[change.row] = change.value or b""
        changes.close()
    return found


def embedded_get(ways: Ways, table: str, rows: Rows) -> Rows:
    async def got() -> Rows:
        found = {key: ways.members.nodes[0].table(table).get(key) for key in rows}
        return {key: row.value or b"" for key, row in found.items() if row is not None}

    return ways.members.ask(got())


def embedded_range(ways: Ways, table: str, rows: Rows) -> Rows:
    async def ranged() -> Rows:
        return {row.row: row.value or b"" async for row in ways.members.nodes[0].table(table).range()}

    return ways.members.ask(ranged())


def command_get(ways: Ways, table: str, rows: Rows) -> Rows:
    return {key: ways.run("get", table, key, "--server", ways.url).out for key in rows}


def command_get_as_json(ways: Ways, table: str, rows: Rows) -> Rows:
    shown = {key: json.loads(ways.run("get", table, key, "-o", "json", "--server", ways.url).out) for key in rows}
    return {key: value_from_json(item["value"]) for key, item in shown.items()}


def command_list(ways: Ways, table: str, rows: Rows) -> Rows:
    shown = [json.loads(line) for line in ways.run("list", table, "-o", "json", "--server", ways.url).out.splitlines()]
    return {item["row"]: value_from_json(item["value"]) for item in shown}


def command_watch(ways: Ways, table: str, rows: Rows) -> Rows:
    shown = list(ways.lines_of_watch_command(table))
    return {item["row"]: value_from_json(item["value"]) for item in shown if item["event"] == "put"}


def export(ways: Ways, table: str, rows: Rows) -> Rows:
    return exported(ways.run("export", table, "--server", ways.url).out)


def exported(content: bytes) -> Rows:
    items = [json.loads(line) for line in io.BytesIO(content)]
    return {item["row"]: value_from_json(item["value"]) for item in items}


def export_as_tsv(ways: Ways, table: str, rows: Rows) -> Rows:
    """Compared as it is written: an escaped form per value."""
    lines = ways.run("export", table, "--format", "tsv", "--server", ways.url).out.splitlines()
    found = dict(line.split(b"\t") for line in lines)
    named = {tsv_field(key.encode()): key for key in rows}
    return {
        named[key]: rows[named[key]] if tsv_field(rows[named[key]]) == value else value for key, value in found.items()
    }


WAYS_OUT: list[Callable[[Ways, str, Rows], Rows]] = [
    get,
    get_of_two_members,
    listing,
    listing_by_lines,
    watch,
    client_get,
    client_range,
    client_watch,
    embedded_get,
    embedded_range,
    command_get,
    command_list,
    export,
    export_as_tsv,
]
SLOW_WAYS_OUT = [command_get_as_json, command_watch]
"""What they read comes to them as to others, so that one table is enough. An export from a directory, for which members
must stop, is the last."""
