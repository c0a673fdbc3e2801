"""Real `gossipkv serve` processes on the loopback, their gossip led through proxies that can be cut."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp

from gossipkv.client.servers.session import sent_once
from gossipkv.config.settings import variable_of

DEADLINE_SECONDS = 60.0
PROXY_HOST = "127.0.0.2"
"""Members advertise this address; what listens there passes on to the member."""


_given: set[int] = set()


def free_port() -> int:
    """One that no one listens on, and that was not given out before: it may be in use by the next call, or not yet."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port not in _given:
            _given.add(port)
            return port


async def eventually(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait until the condition holds; fail at the deadline and say what was waited for."""
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not await condition():
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"not within {DEADLINE_SECONDS:.0f} s: {what}") from None


class Proxy:
    """Passes TCP on to a member. Cut, it takes connections and lets every byte vanish, as a partition does."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.is_cut = False
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, PROXY_HOST, self.port)

    async def stop(self) -> None:
        self._server.close()
        for writer in list(self._writers):
            writer.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            onward_reader, onward = await asyncio.open_connection("127.0.0.1", self.port)
            self._writers.add(onward)
            await asyncio.gather(self._pass_on(reader, onward), self._pass_on(onward_reader, writer))
        except OSError:
            pass
        finally:
            writer.close()
            self._writers.discard(writer)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while content := await reader.read(65536):
            if not self.is_cut:
                writer.write(content)
                await writer.drain()
        writer.close()


class Member:
    """One member: its ports, its directory, and its process while it runs."""

    def __init__(self, name: str, directory: Path, **settings: object) -> None:
        self.name = name
        self.settings = settings
        self.data_dir = directory / name
        self.log_path = directory / f"{name}.log"
        self.http_port = free_port()
        self.proxy = Proxy(free_port())
        self.url = f"http://127.0.0.1:{self.http_port}"
        self.gossip_url = f"http://{PROXY_HOST}:{self.proxy.port}"
        self.program: tuple[str, ...] = ("-m", "gossipkv")
        """The arguments of Python that run the command line."""
        self.environment: dict[str, str] = {}
        """More variables of its environment."""
        self.process: asyncio.subprocess.Process | None = None

    async def start(self, peers: list[Member]) -> None:
        environment = {
            **os.environ,
            "GOSSIPKV_MEMBER": self.name,
            "GOSSIPKV_DATA_DIR": str(self.data_dir),
            "GOSSIPKV_HTTP_HOST": "127.0.0.1",
            "GOSSIPKV_HTTP_PORT": str(self.http_port),
            "GOSSIPKV_GOSSIP_HOST": "127.0.0.1",
            "GOSSIPKV_GOSSIP_PORT": str(self.proxy.port),
            "GOSSIPKV_ADVERTISE_HOST": PROXY_HOST,
            "GOSSIPKV_PEERS": ",".join(peer.gossip_url for peer in peers),
            "GOSSIPKV_GOSSIP_INTERVAL_MS": "200",
            "GOSSIPKV_RETRY_MS_MAX": "1000",
            "GOSSIPKV_FORGET_SILENCE_MS": "0",
            "GOSSIPKV_EXCHANGE_TIMEOUT_S": "3",
            **{variable_of(name): str(value) for name, value in self.settings.items()},
            **self.environment,
        }
        with self.log_path.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, *self.program, "serve", env=environment, stdout=log, stderr=log
            )

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None, "the member has been started"
        self.process.send_signal(number)

    async def kill(self) -> None:
        """As a power cut would end it."""
        self.signal(signal.SIGKILL)
        assert self.process is not None, "signal has checked it"
        await self.process.wait()
        self.process = None

    def lose_disk(self) -> None:
        shutil.rmtree(self.data_dir)


class Members:
    """Some members, each told of all, and with these settings; use as `async with`."""

    def __init__(self, directory: Path, count: int = 3, /, **settings: object) -> None:
        self.all = [Member(f"gossipkv-{number}", directory, **settings) for number in range(count)]

    async def __aenter__(self) -> Members:
        # Were a write sent twice by the library, a test would take one acknowledged write for two.
        self.session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10), middlewares=(sent_once,))
        try:
            for member in self.all:
                await member.proxy.start()
                await member.start(self.all)
            await eventually(self.are_ready, "all members ready")
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        for member in self.all:
            if member.process is not None:
                await member.kill()
            await member.proxy.stop()
        await self.session.close()

    async def json(self, member: Member, path: str) -> Any:
        async with self.session.get(member.url + path) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def put(self, member: Member, row: str, value: str) -> bool:
        """Whether the write was acknowledged; where it was not, it may stand or not."""
        try:
            async with self.session.put(f"{member.url}/v1/usr/tables/t/rows/{row}", data=value) as response:
                return response.status in (201, 204)
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def rows(self, member: Member) -> dict[str, str]:
        """All rows of the table that the tests write."""
        found: dict[str, str] = {}
        cursor = ""
        while True:
            page = await self.json(member, f"/v1/usr/tables/t/rows?limit=1000{cursor}")
            found |= {item["row"]: item["value"] for item in page["items"]}
            if page["next_cursor"] is None:
                return found
            cursor = f"&cursor={page['next_cursor']}"

    async def is_ready(self, member: Member) -> bool:
        try:
            async with self.session.get(f"{member.url}/readyz") as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def are_ready(self) -> bool:
        return all([await self.is_ready(member) for member in self.all])

    async def fingerprints(self) -> list[tuple[str, str]]:
        """Each member's own account of its two shards."""
        found = []
        for member in self.all:
            cluster = await self.json(member, "/v1/cluster")
            own = next(entry for entry in cluster["members"] if entry["self"])
            found.append((own["shards"]["usr"]["fingerprint"], own["shards"]["sys"]["fingerprint"]))
        return found

    async def are_equal(self) -> bool:
        return len(set(await self.fingerprints())) == 1

    async def replica_id(self, member: Member) -> str:
        cluster = await self.json(member, "/v1/cluster")
        return str(next(entry for entry in cluster["members"] if entry["self"])["replica"])

    async def metric(self, member: Member, sample: str) -> float:
        async with self.session.get(f"{member.url}/metrics") as response:
            for line in (await response.text()).splitlines():
                if line.startswith(sample + " "):
                    return float(line.rsplit(" ", 1)[1])
        return 0.0
