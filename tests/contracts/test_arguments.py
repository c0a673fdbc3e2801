"""One rule, every door: what one door refuses all refuse, and what one takes all take, and it reaches the others.

The doors are HTTP, Client, SyncClient, the member in this process, and the command line.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import aiohttp
import click
import pytest
import pytest_asyncio
from yarl import URL

from gossipkv import Client, InvalidArgumentError, RefusedError, SyncClient
from gossipkv.api.options import ApiOptions
from gossipkv.api.routes import build_api
from gossipkv.api.server import serve
from gossipkv.cli import group
from gossipkv.cli.terminal.exit_code import ExitCode
from gossipkv.core.model.address import USER
from gossipkv.core.options import ReplicaOptions
from gossipkv.discovery.static import StaticDiscovery
from gossipkv.embedding.embedded import NodeTable
from gossipkv.member.metrics import Metrics
from gossipkv.member.node import MemberNode
from gossipkv.rows.arguments.limits import LIFE_MS_MAX
from gossipkv.storage.memory import MemoryStorage
from gossipkv.transport.memory import MemoryNetwork, MemoryTransport
from tests.node.conftest import eventually

VALUE_BYTES_MAX = 1_000
DOORS = ("http", "client", "sync", "embedded", "command")


@dataclass(frozen=True)
class Call:
    """A put, or a delete where `value` is None, with whatever a program may hand in."""

    key: Any = "k"
    value: Any = b"v"
    options: Mapping[str, Any] = field(default_factory=dict)
    table: Any = "t"

    @property
    def is_text(self) -> bool:
        """Whether a path, a query and a command line can say it."""
        words = [self.key, self.table, *[option for name, option in self.options.items() if name != "w"]]
        is_number = type(self.options.get("w", 1)) in (str, int)
        return is_number and all(type(word) in (str, bool) for word in words) and isinstance(self.value, bytes | None)

    def on(self, table: Any) -> Any:
        """Call the method of a table object; returns what that returns, a coroutine if the table is asynchronous."""
        if self.value is None:
            return table.delete(self.key, **self.options)
        return table.put(self.key, self.value, **self.options)


def put(**options: Any) -> Call:
    return Call(options=options)


def delete(**options: Any) -> Call:
    return Call(value=None, options=options)


WRONG = {
    "an empty key": Call(""),
    "a key of 401 bytes": Call("k" * 401),
    "a key of 401 bytes in fewer characters": Call("é" * 200 + "x"),
    "a key with half of a surrogate pair": Call("\ud800"),
    "a key of bytes": Call(b"k"),
    "a key that is a number": Call(7),
    "no key": Call(None),
    "a table with a space": Call(table="no name"),
    "an empty table": Call(table=""),
    "a table of 65 letters": Call(table="t" * 65),
    "a table outside ASCII": Call(table="tä"),
    "a table of bytes": Call(table=b"t"),
    "a value of text": Call(value="a str"),
    "a value that is a number": Call(value=7),
    "a value that is a flag": Call(value=True),
    "a value that is a list": Call(value=[b"v"]),
    "a value that is a mapping": Call(value={"v": 1}),
    "a value that is too large": Call(value=bytes(VALUE_BYTES_MAX + 1)),
    "a life of nothing": put(ttl="0s"),
    "a life below a millisecond": put(ttl=0.0001),
    "a life that is over": put(ttl=-1),
    "a life of negative text": put(ttl="-1s"),
    "a life beyond the wire": put(ttl="138888888889d"),
    "a life beyond a century": put(ttl="36601d"),
    "a life without a unit": put(ttl="30"),
    "a life in another unit": put(ttl="1w"),
    "a life in digits of another script": put(ttl="٣s"),
    "a life that is no number": put(ttl=math.nan),
    "a life without end": put(ttl=math.inf),
    "a life of a huge number": put(ttl=10**400),
    "a life that is a flag": put(ttl=True),
    "a life that is a decimal": put(ttl=Decimal(5)),
    "a life of a negative timedelta": put(ttl=timedelta(seconds=-1)),
    "a life of the longest timedelta": put(ttl=timedelta.max),
    "a deleted row with a life": delete(ttl="5s"),
    "no copies": put(w=0),
    "negative copies": put(w=-1),
    "copies beyond all members": put(w=10**30),
    "copies as text": put(w="two"),
    "copies as a flag": put(w=True),
    "copies as a float": put(w=2.0),
    "copies that are no number": put(w=math.nan),
    "no copies of a delete": delete(w=0),
    "a wait of more than an hour": put(w=1, write_wait="61m"),
    "a negative wait": put(w=1, write_wait=-1.0),
    "a wait that is no number": put(w=1, write_wait=math.nan),
    "a wait that is no time": put(w=1, write_wait="soon"),
    "a condition that ends a header": put(if_match='a\r\nX: "b"'),
    "a condition with a quote within": put(if_match='a"b'),
    "a condition that is a number": put(if_match=7),
    "a condition of bytes": put(if_match=b"a"),
    "a condition with half of a surrogate pair": put(if_match="\ud800"),
    "an absence that is text": put(if_absent="no"),
    "a delete of an absent row": delete(if_absent=True),
    "a context of nothing": put(context=""),
    "a context that is no base64": put(context="!" * 32),
    "a context that ends a header": put(context="AAAA\r\nX: y"),
    "a context of bytes": put(context=b"AAAA"),
    "a context of another row": put(context="A" * 54),
    "an unknown option": put(tll="5s"),
}

LEGAL = {
    "a key of one byte": Call("\0"),
    "a key of 400 bytes": Call("é" * 200),
    "a key that looks like steps": Call("../.."),
    "a key of any character": Call("\U0010ffff a/b?c#d%e\u2028"),
    "a table of dots": Call(table=".."),
    "a table of 64 letters": Call(table="T" * 64),
    "the empty value": Call(value=b""),
    "the largest value": Call(value=bytes(VALUE_BYTES_MAX)),
    "a value that is no text": Call(value=b"\xff\0\n"),
    "a value of a bytearray": Call(value=bytearray(b"v")),
    "a value of a memoryview": Call(value=memoryview(b"v-w")[::2]),
    "the shortest life": put(ttl="1ms"),
    "the longest life": put(ttl="36600d"),
    "the longest life in seconds": put(ttl=LIFE_MS_MAX // 1_000),
    "a life as a timedelta": put(ttl=timedelta(hours=1)),
    "a life as a number": put(ttl=3600),
    "one copy": put(w=1),
    "all copies": put(w=2),
    "no wait": put(w=1, write_wait="0s"),
    "the longest wait": put(w=2, write_wait="1h"),
    "any version": put(if_match="*"),
    "a list of etags, one of which is the row's": put(if_match='"zzz", "{etag}"'),
    "an etag without quotes": put(if_match="{etag}"),
    "an etag with quotes": put(if_match='"{etag}"'),
    "an absent row": Call("only once {n}", options={"if_absent": True}),
}


class Members:
    """Two of them, joined in memory; requests go to the first."""

    def __init__(self, nodes: list[MemberNode], url: str, session: aiohttp.ClientSession) -> None:
        self.nodes = nodes
        self.url = url
        self.session = session

    def table(self, name: Any, member: int = 0) -> NodeTable:
        return NodeTable(self.nodes[member], name, None, VALUE_BYTES_MAX)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def members() -> AsyncIterator[Members]:
    network = MemoryNetwork()
    nodes = []
    options = ApiOptions(value_bytes_max=VALUE_BYTES_MAX)
    async with AsyncExitStack() as stack:
        for name in "ab":
            transport = MemoryTransport(network, f"memory://{name}")
            node = MemberNode(
                ReplicaOptions(
                    member=name,
                    endpoints={"gossip": transport.endpoint},
                    gossip_interval_ms=50,
                    bootstrap_timeout_ms=200,
                    value_bytes_max=VALUE_BYTES_MAX,
                ),
                MemoryStorage(),
                transport,
                StaticDiscovery(["memory://a", "memory://b"]),
                Metrics(),
            )
            await node.start()
            stack.push_async_callback(node.stop)
            nodes.append(node)
        server = await serve(build_api(nodes[0], Metrics(), options), "127.0.0.1", 0, options)
        stack.push_async_callback(server.stop)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        for node in nodes:
            await node.wait_ready()
        yield Members(nodes, f"http://127.0.0.1:{server.port}", session)


# Each door carries a call out. What it refuses raises RefusedHereError.


class RefusedHereError(Exception):
    pass


class UnsayableError(RefusedHereError):
    """The door has no words for it."""


async def by_http(members: Members, call: Call) -> None:
    if not call.is_text:
        raise UnsayableError("a request cannot say it")
    names = {"ttl", "w", "write_wait"}
    query = "&".join(f"{name}={quote(str(call.options[name]))}" for name in call.options if name not in _HEADERS)
    assert all(name in names or name in _HEADERS or name == "tll" for name in call.options)
    headers = {}
    for name, value in call.options.items():
        if name in _HEADERS and value is not False:
            if "\r" in str(value) or not str(value).isascii():
                raise UnsayableError("a header cannot say it")
            headers[_HEADERS[name]] = "*" if value is True else _quoted(name, str(value))
    table, key = (quote(part, safe="", errors="surrogatepass") for part in (call.table, call.key))
    url = URL(f"{members.url}/v1/usr/tables/{table}/rows/{key}?{query}", encoded=True)
    method = "DELETE" if call.value is None else "PUT"
    async with members.session.request(method, url, data=call.value, headers=headers) as response:
        if response.status >= 400:
            problem = await response.json()
            assert response.status in (400, 413), problem
            raise RefusedHereError(problem)


_HEADERS = {"if_match": "If-Match", "if_absent": "If-None-Match", "context": "Gossipkv-Context"}


def _quoted(name: str, value: str) -> str:
    is_plain = name == "if_match" and value != "*" and not value.startswith('"')
    return f'"{value}"' if is_plain else value


async def by_client(members: Members, call: Call) -> None:
    async with Client([members.url]) as client:
        try:
            await call.on(client.table(call.table))
        except (RefusedError, TypeError) as error:
            raise RefusedHereError(str(error)) from error


async def by_sync(members: Members, call: Call) -> None:
    def carry_out() -> None:
        with SyncClient([members.url]) as client:
            call.on(client.table(call.table))

    try:
        await asyncio.to_thread(carry_out)
    except (RefusedError, TypeError) as error:
        raise RefusedHereError(str(error)) from error


async def by_embedded(members: Members, call: Call) -> None:
    try:
        await call.on(members.table(call.table))
    except (InvalidArgumentError, TypeError) as error:
        raise RefusedHereError(str(error)) from error


async def by_command(members: Members, call: Call) -> None:
    if not call.is_text or b"\0" in (call.value or b"") or "\0" in call.key:
        raise UnsayableError("a command line cannot say it")
    words = ["put" if call.value is not None else "delete", "-s", members.url]
    for name, value in call.options.items():
        option = f"-{name}" if len(name) == 1 else f"--{name.replace('_', '-')}"
        words += [option] if value is True else [f"{option}={value}" if len(option) > 2 else f"{option}{value}"]
    words += ["--", call.table, call.key]
    if call.value is not None:
        words.append(call.value.decode(errors="surrogateescape"))

    try:
        await asyncio.to_thread(group.main, args=words, prog_name="gossipkv", standalone_mode=False)
    except click.ClickException as error:
        assert error.exit_code == ExitCode.USAGE, error.message  # noqa: PT017
        raise RefusedHereError(error.message) from error


CARRIED_OUT: dict[str, Callable[[Members, Call], Awaitable[None]]] = {
    "http": by_http,
    "client": by_client,
    "sync": by_sync,
    "embedded": by_embedded,
    "command": by_command,
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("case", WRONG)
@pytest.mark.asyncio(loop_scope="module")
async def test_what_no_member_can_carry_out_is_refused_at_every_door(members: Members, case: str, door: str) -> None:
    before = await stored(members)
    with pytest.raises(RefusedHereError):
        await CARRIED_OUT[door](members, WRONG[case])
    assert await stored(members) == before


_numbers = itertools.count()


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("case", LEGAL)
@pytest.mark.asyncio(loop_scope="module")
async def test_what_a_member_can_carry_out_is_taken_at_every_door_and_reaches_the_others(
    members: Members, case: str, door: str
) -> None:
    call = LEGAL[case]
    table = members.table(call.table)
    key = call.key.replace("{n}", str(next(_numbers)))
    if "if_match" in call.options:
        await table.put(key, b"before")
    row = table.get(key)
    etag = row.etag if row is not None and row.etag is not None else ""
    options = {
        name: option.replace("{etag}", etag) if isinstance(option, str) else option
        for name, option in call.options.items()
    }
    meant = Call(key, call.value, options, call.table)
    has_lasting_value = options.get("ttl") != "1ms"
    try:
        await CARRIED_OUT[door](members, meant)
    except UnsayableError:
        return

    async def has_arrived() -> bool:
        there = members.table(call.table, member=1).get(key)
        return not has_lasting_value or (there is not None and there.value == bytes(call.value))

    await eventually(has_arrived)
    here = (await members.nodes[0].status()).members
    assert {member.member for member in here} == {"a", "b"}


async def stored(members: Members) -> object:
    """The writes that the first member covers, its own among them."""
    with members.nodes[0].view() as view:
        record = view.shard_record(USER)
    return None if record is None else dict(record.context)


@pytest.mark.parametrize("setting", ["w", "r"])
@pytest.mark.parametrize("given", [0, -1, 10**30, True, 1.5, math.nan, "2", None, [1]])
@pytest.mark.asyncio(loop_scope="module")
async def test_settings_of_a_table_are_numbers_of_members(members: Members, setting: str, given: Any) -> None:
    url = f"{members.url}/v1/usr/tables/settled"
    async with members.session.put(url, json={setting: given}) as response:
        assert response.status == 422
    if given is not None:
        async with Client([members.url]) as client:
            with pytest.raises(RefusedError):
                await client.table("settled").configure(**{setting: given})
