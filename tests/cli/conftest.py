"""Servers in a thread of their own, for commands that run as they do in a terminal: without a loop around them."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web

from gossipkv.api.options import ApiOptions
from gossipkv.api.routes import build_api
from gossipkv.api.server import serve
from gossipkv.cli import main
from gossipkv.core.model.member import GOSSIP
from gossipkv.core.options import ReplicaOptions
from gossipkv.discovery.static import StaticDiscovery
from gossipkv.member.metrics import Metrics
from gossipkv.member.node import MemberNode
from gossipkv.storage.memory import MemoryStorage
from gossipkv.transport.memory import MemoryNetwork, MemoryTransport


@contextmanager
def served(server: Callable[[], AbstractAsyncContextManager[int]]) -> Iterator[str]:
    """The URL of a server that runs in a thread; its context gives the port."""
    started: list[str] = []
    is_up = threading.Event()
    loop = asyncio.new_event_loop()
    stopping = asyncio.Event()

    async def run() -> None:
        try:
            async with server() as port:
                started.append(f"http://127.0.0.1:{port}")
                is_up.set()
                await stopping.wait()
        finally:
            is_up.set()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    try:
        assert is_up.wait(10)
        yield started[0]
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join(10)
        loop.close()


@asynccontextmanager
async def running_member() -> AsyncIterator[int]:
    metrics, options = Metrics(), ApiOptions()
    replica_options = ReplicaOptions(endpoints={GOSSIP: "memory://0"}, bootstrap_timeout_ms=1, gossip_interval_ms=10)
    transport = MemoryTransport(MemoryNetwork(), "memory://0")
    node = MemberNode(replica_options, MemoryStorage(), transport, StaticDiscovery(()), metrics)
    await node.start()
    server = await serve(build_api(node, metrics, options), "127.0.0.1", 0, options)
    await node.wait_ready()
    yield server.port
    node.end_watches()
    await server.stop()
    await node.stop()


@pytest.fixture(scope="session")
def member() -> Iterator[str]:
    """The URL of a member alone in its cluster. Tests keep to tables of their own."""
    with served(running_member) as url:
        yield url


class Gate:
    """A server that takes so many batches, stores nothing of them, and then takes none."""

    def __init__(self, batches_max: int) -> None:
        self.left = batches_max
        self.rows: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        lines = [json.loads(line) for line in (await request.read()).splitlines()]
        if not self.left:
            return web.json_response({"title": "overloaded"}, status=503)
        self.left -= 1
        self.rows += [line["row"] for line in lines]
        results = "".join(json.dumps({"row": line["row"], "status": 201}) + "\n" for line in lines)
        return web.Response(text=results)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        app = web.Application(client_max_size=2**24)
        app.router.add_post("/{path:.*}", self.answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield site.port
        await runner.cleanup()


@dataclass
class Outcome:
    code: int
    out: bytes
    err: str


Run = Callable[..., Outcome]
OpenGate = Callable[[int], AbstractContextManager[tuple[Gate, str]]]


@pytest.fixture
def run(member: str, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Runs a command as in a terminal, against the member unless told otherwise."""
    monkeypatch.setenv("GOSSIPKV_SERVER", member)

    def run(*arguments: Any, code: int | None = 0) -> Outcome:
        with pytest.raises(SystemExit) as ending:
            main([str(argument) for argument in arguments])
        captured = capfdbinary.readouterr()
        outcome = Outcome(int(ending.value.code or 0), captured.out, captured.err.decode())
        assert code is None or outcome.code == code, outcome
        return outcome

    return run


@pytest.fixture
def gate() -> OpenGate:
    """A running Gate that takes so many batches, and its URL."""

    @contextmanager
    def opened(batches_max: int) -> Iterator[tuple[Gate, str]]:
        gate = Gate(batches_max)
        with served(gate.running) as url:
            yield gate, url

    return opened
