"""The doors to one member: raw HTTP, Client, SyncClient, the member in this process, and the command line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import aiohttp
from yarl import URL

from gossipkv import (
    BatchOutcome,
    Change,
    Client,
    ClientError,
    Delete,
    Node,
    Put,
    Row,
    SyncClient,
    UnresolvedSiblingsError,
    Written,
)
from gossipkv.client import value_from_json, value_to_json
from gossipkv.client.errors import type_of
from tests.contracts.command_door import CommandDoor
from tests.contracts.door import DELETED, TYPE_PREFIX, UNKNOWN_OPTION, Door, Found, Line, RefusedCallError, Seen
from tests.processes.members import free_port

VALUE_BYTES_MAX = 1_000
DEADLINE_SECONDS = 20.0
# HTTP

_HEADERS = {"if_match": "If-Match", "context": "Gossipkv-Context"}


class HttpDoor(Door):
    name = "http"

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def _ask(
        self,
        method: str,
        path: str,
        query: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        data: bytes | None = None,
    ) -> tuple[int, Any, bytes]:
        text = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in (query or {}).items())
        url = URL(f"{self._url}{path}?{text}", encoded=True)
        async with self._session.request(method, url, headers=headers, data=data) as response:
            body = await response.read()
            if response.status >= 400:
                raise _refused_by(json.loads(body))
            return response.status, response.headers, body

    async def get(self, table: str, key: Any, *, r: Any = None, namespace: Any = "usr") -> Found | None:
        query = {} if r is None else {"r": r}
        try:
            status, headers, body = await self._ask("GET", _path(namespace, table, key), query)
        except RefusedCallError as refused:
            if refused.problem == "row-not-found":
                return None
            raise
        etag, context = headers["ETag"].strip('"'), headers["Gossipkv-Context"]
        if status == 200:
            return Found(body, (), etag, context)
        siblings = tuple(value_from_json(each["value"]) for each in json.loads(body)["siblings"])
        return Found(None, siblings, etag, context)

    async def write(self, table: Any, key: Any, value: Any, options: dict[str, Any], namespace: Any) -> Written:
        headers, query = {}, {}
        for name, option in options.items():
            if name in _HEADERS:
                is_bare = name == "if_match" and option != "*" and '"' not in option
                headers[_HEADERS[name]] = f'"{option}"' if is_bare else option
            elif name == "if_absent":
                headers |= {"If-None-Match": "*"} if option else {}
            else:
                query[name] = option
        method, body = ("DELETE", None) if value is DELETED else ("PUT", value)
        _, answered, _ = await self._ask(method, _path(namespace, table, key), query, headers, body)
        etag = answered.get("ETag")
        return Written(etag and etag.strip('"'), answered["Gossipkv-Context"], answered["Gossipkv-Receipt"])

    async def range(self, table: str, *, namespace: str = "usr", **bounds: Any) -> list[Row]:
        if "page_rows" in bounds:
            bounds["limit"] = bounds.pop("page_rows")
        return await self._all(table, namespace, bounds)

    async def pages(self, table: str, *, namespace: str = "usr", **bounds: Any) -> list[Row]:
        return (await self._all(table, namespace, bounds))[: bounds.get("limit")]

    async def _all(self, table: str, namespace: str, bounds: dict[str, Any]) -> list[Row]:
        query = {name: str(bound).lower() if bound is True else bound for name, bound in bounds.items()}
        rows: list[Row] = []
        while True:
            _, _, body = await self._ask("GET", f"{_path(namespace, table)}/rows", query)
            page = json.loads(body)
            rows += [_listed(item) for item in page["items"]]
            if page["next_cursor"] is None:
                return rows
            query["cursor"] = page["next_cursor"]

    async def batch(self, table: str, operations: Any, *, namespace: str = "usr", **options: Any) -> list[Line]:
        body = b"\n".join(json.dumps(_line(operation)).encode() for operation in operations)
        _, _, answer = await self._ask("POST", f"{_path(namespace, table)}/rows:batch", options, data=body)
        return [_result(json.loads(line)) for line in answer.splitlines()]

    async def update(self, table: str, key: str, change: Any, **options: Any) -> Written | None:
        """As a program over HTTP does it."""
        while True:
            found = await self.get(table, key)
            wanted = change(None if found is None else found.value)
            value = await wanted if isinstance(wanted, Awaitable) else wanted
            if found is None and value is None:
                return None
            condition = {"if_absent": True} if found is None else {"if_match": found.etag, "context": found.context}
            try:
                return await self.write(
                    table, key, DELETED if value is None else value, {**options, **condition}, "usr"
                )
            except RefusedCallError as refused:
                if refused.problem != "precondition-failed":
                    raise

    async def watch(self, table: str, count: int, **options: Any) -> tuple[list[Seen], str]:
        query = {name: str(option).lower() if option is True else option for name, option in options.items()}
        if "since" in query:
            query["last_event_id"] = query.pop("since")
        text = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in query.items())
        url = URL(f"{self._url}{_path('usr', table)}/rows:watch?{text}", encoded=True)
        seen: list[Seen] = []
        async with self._session.get(url) as response:
            if response.status >= 400:
                raise _refused_by(await response.json(content_type=None))
            name = data = event_id = ""
            while len(seen) < count:
                field, _, content = (await response.content.readline()).decode().rstrip("\n").partition(": ")
                if field == "event":
                    name = content
                elif field == "data":
                    data += content
                elif field == "id":
                    event_id = content
                elif not field and name:
                    seen.append(_event(name, json.loads(data)))
                    name = data = ""
        return seen, event_id

    async def describe(self, table: str, *, namespace: str = "usr") -> dict[str, Any] | None:
        try:
            described: dict[str, Any] = json.loads((await self._ask("GET", _path(namespace, table)))[2])
        except RefusedCallError as refused:
            if refused.problem == "table-not-found":
                return None
            raise
        return described

    async def configure(self, table: str, *, namespace: str = "usr", **settings: Any) -> None:
        await self._ask("PUT", _path(namespace, table), data=json.dumps(settings).encode())

    async def drop(self, table: str, *, namespace: str = "usr") -> None:
        await self._ask("DELETE", _path(namespace, table))

    async def tables(self, namespace: Any = "usr") -> list[str]:
        _, _, body = await self._ask("GET", f"/v1/{quote(namespace, safe='')}/tables")
        return [item["table"] for item in json.loads(body)["items"]]

    async def receipt(self, receipt: Any, **options: Any) -> dict[str, Any]:
        query = {"timeout" if name == "within" else name: option for name, option in options.items()}
        _, _, body = await self._ask("GET", f"/v1/cluster/receipts/{quote(receipt, safe='')}", query)
        covered: dict[str, Any] = json.loads(body)
        return covered

    async def cluster(self, **options: Any) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((await self._ask("GET", "/v1/cluster", options))[2])
        return content

    async def forget(self, member: Any, **options: Any) -> None:
        query = {name: str(option).lower() if type(option) is bool else option for name, option in options.items()}
        await self._ask("DELETE", f"/v1/cluster/members/{_quoted(member)}", query)


def _path(namespace: str, table: str, key: str | None = None) -> str:
    parts = [_quoted(part) for part in (namespace, table, *([] if key is None else [key]))]
    path = f"/v1/{parts[0]}/tables/{parts[1]}"
    return path if key is None else f"{path}/rows/{parts[2]}"


def _quoted(part: str) -> str:
    return quote(part, safe="").replace(".", "%2E")


def _refused_by(problem: dict[str, Any]) -> RefusedCallError:
    return RefusedCallError(problem["type"].removeprefix(TYPE_PREFIX), None, problem)


def _listed(item: dict[str, Any]) -> Row:
    value = value_from_json(item["value"]) if "value" in item else None
    siblings = tuple(value_from_json(each["value"]) for each in item.get("siblings", ()))
    return Row(item["row"], value, item["etag"], item.get("context"), siblings)


def _line(operation: Put | Delete) -> dict[str, Any]:
    line: dict[str, Any] = {"row": operation.row}
    line |= {name: given for name in ("etag", "context") if (given := getattr(operation, name)) is not None}
    if isinstance(operation, Delete):
        return line | {"delete": True}
    return line | {"value": value_to_json(operation.value)} | ({} if operation.ttl is None else {"ttl": operation.ttl})


def _result(result: dict[str, Any]) -> Line:
    problem = result.get("problem", {}).get("type", "").removeprefix(TYPE_PREFIX)
    return Line(result["row"], problem, "etag" in result, "receipt" in result)


def _event(name: str, data: dict[str, Any]) -> Seen:
    siblings = tuple(value_from_json(each["value"]) for each in data.get("siblings", ()))
    value = siblings[0] if siblings else value_from_json(data["value"]) if "value" in data else None
    return Seen(name, data.get("row", ""), value, siblings, "context" in data)


# Programs


class ProgramDoor(Door):
    """A door of objects: one of the cluster, and those of tables."""

    _cluster: Any

    def _table(self, name: Any, namespace: Any) -> Any:
        return self._cluster.table(name, namespace=namespace)

    async def _call(self, call: Callable[[], Any]) -> Any:
        """The result of a call, which may be a coroutine, with its errors in the words of all doors."""
        try:
            return await self._carried_out(call)
        except TypeError as error:
            if "unexpected keyword argument" not in str(error):
                raise
            raise RefusedCallError(UNKNOWN_OPTION, error, {}) from error
        except UnresolvedSiblingsError:
            raise
        except ClientError as error:
            raise RefusedCallError(type_of(error.problem), error, error.problem) from error

    async def _carried_out(self, call: Callable[[], Any]) -> Any:
        raise NotImplementedError

    async def _listed(self, call: Callable[[], Any]) -> list[Any]:
        raise NotImplementedError

    def _read(self, table: Any) -> Callable[..., Any]:
        read: Callable[..., Any] = table.get
        return read

    async def get(self, table: str, key: Any, *, r: Any = None, namespace: Any = "usr") -> Found | None:
        try:
            row = await self._call(lambda: self._read(self._table(table, namespace))(key, r=r))
        except UnresolvedSiblingsError as error:
            return Found(None, error.row.siblings, error.row.etag, error.row.context)
        return None if row is None else Found(row.value, (), row.etag, row.context)

    async def write(self, table: Any, key: Any, value: Any, options: dict[str, Any], namespace: Any) -> Written:
        def call() -> Any:
            at = self._table(table, namespace)
            return at.delete(key, **options) if value is DELETED else at.put(key, value, **options)

        written: Written = await self._call(call)
        return written

    async def range(self, table: str, *, namespace: str = "usr", **bounds: Any) -> list[Row]:
        return await self._listed(lambda: self._table(table, namespace).range(**bounds))

    async def batch(self, table: str, operations: Any, *, namespace: str = "usr", **options: Any) -> list[Line]:
        outcomes = await self._listed(lambda: self._table(table, namespace).batch(operations, **options))
        return [_line_of(outcome) for outcome in outcomes]

    async def pages(self, table: str, *, namespace: str = "usr", **bounds: Any) -> list[Row]:
        pages = await self._listed(lambda: self._table(table, namespace).pages(**bounds))
        return [row for page in pages for row in page]

    async def update(self, table: str, key: str, change: Any, **options: Any) -> Written | None:
        written: Written | None = await self._call(lambda: self._table(table, "usr").update(key, change, **options))
        return written

    async def describe(self, table: str, *, namespace: str = "usr") -> dict[str, Any] | None:
        described: dict[str, Any] | None = await self._call(lambda: self._table(table, namespace).describe())
        return described

    async def configure(self, table: str, *, namespace: str = "usr", **settings: Any) -> None:
        await self._call(lambda: self._table(table, namespace).configure(**settings))

    async def drop(self, table: str, *, namespace: str = "usr") -> None:
        await self._call(lambda: self._table(table, namespace).drop())

    async def tables(self, namespace: Any = "usr") -> list[str]:
        return [each["table"] for each in await self._call(lambda: self._cluster.tables(namespace))]

    async def receipt(self, receipt: Any, **options: Any) -> dict[str, Any]:
        covered: dict[str, Any] = await self._call(lambda: self._cluster.receipt(receipt, **options))
        return covered

    async def cluster(self, **options: Any) -> dict[str, Any]:
        content: dict[str, Any] = await self._call(lambda: self._cluster.cluster(**options))
        return content

    async def forget(self, member: Any, **options: Any) -> None:
        await self._call(lambda: self._cluster.forget(member, **options))


def _line_of(outcome: BatchOutcome) -> Line:
    error = outcome.error
    problem = "" if error is None else error.problem["type"].removeprefix(TYPE_PREFIX)
    return Line(outcome.row, problem, outcome.etag is not None, outcome.receipt is not None)


def _seen(change: Change) -> Seen:
    return Seen(change.kind.value, change.row, change.value, change.siblings, change.context is not None)


class AsyncDoor(ProgramDoor):
    async def _carried_out(self, call: Callable[[], Any]) -> Any:
        result = call()
        return await result if isinstance(result, Awaitable) else result

    async def _listed(self, call: Callable[[], Any]) -> list[Any]:
        async def listed() -> list[Any]:
            return [item async for item in call()]

        items: list[Any] = await self._call(listed)
        return items

    async def watch(self, table: str, count: int, **options: Any) -> tuple[list[Seen], str]:
        async def watched() -> tuple[list[Seen], str]:
            changes: list[Change] = []
            async with self._table(table, "usr").watch(**options) as watch:
                while len(changes) < count:
                    changes.append(await anext(watch))
            return [_seen(change) for change in changes], changes[-1].event_id or ""

        told: tuple[list[Seen], str] = await self._call(watched)
        return told


class ClientDoor(AsyncDoor):
    name = "client"

    def __init__(self, client: Client) -> None:
        self._cluster = client


class NodeDoor(AsyncDoor):
    name = "node"

    def __init__(self, node: Node) -> None:
        self._cluster = node

    def _read(self, table: Any) -> Callable[..., Any]:
        read: Callable[..., Any] = table.read
        return read


class SyncDoor(ProgramDoor):
    name = "sync"

    def __init__(self, client: SyncClient) -> None:
        self._cluster = client

    async def _carried_out(self, call: Callable[[], Any]) -> Any:
        return await asyncio.to_thread(call)

    async def _listed(self, call: Callable[[], Any]) -> list[Any]:
        items: list[Any] = await self._call(lambda: list(call()))
        return items

    async def watch(self, table: str, count: int, **options: Any) -> tuple[list[Seen], str]:
        def watched() -> tuple[list[Seen], str]:
            watch = self._cluster.table(table).watch(**options)
            try:
                changes = [next(watch) for _ in range(count)]
            finally:
                watch.close()
            return [_seen(change) for change in changes], changes[-1].event_id or ""

        told: tuple[list[Seen], str] = await self._call(watched)
        return told


class House(NamedTuple):
    """Two members in this process, and the doors to the first."""

    nodes: Sequence[Node]
    url: str
    doors: dict[str, Door]


@asynccontextmanager
async def joined(house: House, directory: Path, name: str) -> AsyncIterator[Node]:
    """One more member, which has found the others when this returns."""
    peers = [each["protocols"][0]["endpoint"] for each in (await house.nodes[0].cluster())["members"]]
    async with Node(
        data_dir=directory, member=name, peers=peers, gossip_port=free_port(), gossip_interval_ms=50
    ) as member:
        await member.wait_ready()
        yield member


@asynccontextmanager
async def house(directory: Path) -> AsyncIterator[House]:
    gossip, http = [free_port(), free_port()], free_port()
    nodes = [
        Node(
            data_dir=directory / f"m{number}",
            member=f"m{number}",
            peers=[f"http://127.0.0.1:{port}" for port in gossip],
            gossip_port=gossip[number],
            http_port=None if number else http,
            gossip_interval_ms=50,
            bootstrap_timeout_ms=50,
            value_bytes_max=VALUE_BYTES_MAX,
        )
        for number in range(2)
    ]
    url = f"http://127.0.0.1:{http}"
    sync = SyncClient([url])
    async with nodes[0], nodes[1], Client([url]) as client, aiohttp.ClientSession() as session:
        for node in nodes:
            await node.wait_ready()
        await asyncio.to_thread(sync.__enter__)
        try:
            doors: list[Door] = [
                HttpDoor(url, session),
                ClientDoor(client),
                SyncDoor(sync),
                NodeDoor(nodes[0]),
                CommandDoor(url),
            ]
            yield House(nodes, url, {door.name: door for door in doors})
        finally:
            await asyncio.to_thread(sync.__exit__, None, None, None)
