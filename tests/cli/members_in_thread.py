"""Members that run in a thread, for tests that go to them by HTTP, by clients, by commands, and embedded."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from gossipkv import Node
from tests.processes.members import free_port

Result = TypeVar("Result")


class MembersInThread:
    def __init__(self, directory: Path, count: int, **settings: Any) -> None:
        ports = [(free_port(), free_port()) for _ in range(count)]
        peers = [f"http://127.0.0.1:{gossip}" for _, gossip in ports]
        self.urls = [f"http://127.0.0.1:{http}" for http, _ in ports]
        self.data_dirs = [directory / f"m{number}" for number in range(count)]
        self.nodes = [
            Node(
                data_dir=self.data_dirs[number],
                member=f"m{number}",
                peers=peers,
                gossip_port=gossip,
                http_port=http,
                gossip_interval_ms=50,
                bootstrap_timeout_ms=50,
                **settings,
            )
            for number, (http, gossip) in enumerate(ports)
        ]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="members")
        self._stack = AsyncExitStack()

    def ask(self, call: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(call, self._loop).result(60)

    @contextmanager
    def running(self) -> Iterator[MembersInThread]:
        self._thread.start()
        try:
            self.ask(self._start())
            yield self
        finally:
            self.stop()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    async def _start(self) -> None:
        for node in self.nodes:
            await self._stack.enter_async_context(node)
        for node in self.nodes:
            await node.wait_ready()

    def stop(self) -> None:
        """Stop the members, whose directories are then no one's."""
        self.ask(self._stack.aclose())
