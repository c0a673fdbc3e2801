"""The network between the members of a demonstration: it can be cut.

Each member advertises an address of this process, which forwards its frames. A frame names its sender, so a cut is a
pair of member names. A frame sent across a cut gets no answer, as in a network that is down.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

import aiohttp
from aiohttp import web

from gossipkv.codec import DecodeError, Limits, decode
from gossipkv.dev.plan import HOST, PlannedMember
from gossipkv.transport.http import CONTENT_TYPE, PATH

_LIMITS = Limits()
_SILENCE_SECONDS = 60.0
"""A time longer than any member waits for an answer."""


def relay_host(index: int) -> str:
    """Return the address at which others reach a member; all of 127.0.0.0/8 is this machine."""
    return f"127.0.1.{index + 1}"


class Wire:
    """A network of relays, one per member. Use it as `async with`, which raises OSError if a port is not available."""

    def __init__(self, members: Sequence[PlannedMember]) -> None:
        self._members = members
        self._sides: dict[str, int] = {}
        self._runners: list[web.AppRunner] = []

    async def __aenter__(self) -> Wire:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_SILENCE_SECONDS))
        for index, member in enumerate(self._members):
            application = web.Application(client_max_size=_LIMITS.frame_bytes_max)
            application.router.add_post(PATH, _Relay(self, member).carry)
            runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
            self._runners.append(runner)
            await runner.setup()
            await web.TCPSite(runner, relay_host(index), member.gossip_port).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(runner.cleanup() for runner in self._runners))
        await self._session.close()

    def split(self, *sides: Collection[str]) -> None:
        """Let members reach only those on their own side."""
        self._sides = {member: number for number, side in enumerate(sides) for member in side}

    def heal(self) -> None:
        """Let all members reach each other again."""
        self._sides = {}

    def joins(self, source: str, target: str) -> bool:
        """Return whether two members can reach each other."""
        return self._sides.get(source) == self._sides.get(target)

    async def pass_on(self, member: PlannedMember, frame: bytes) -> web.Response:
        """Forward a frame to a member and return its answer. Raises aiohttp.ClientError, OSError."""
        url = f"http://{HOST}:{member.gossip_port}{PATH}"
        headers = {"Content-Type": CONTENT_TYPE}
        async with self._session.post(url, data=frame, headers=headers, allow_redirects=False) as answer:
            return web.Response(status=answer.status, body=await answer.read(), content_type=answer.content_type)


class _Relay:
    """The proxy of one member."""

    def __init__(self, wire: Wire, member: PlannedMember) -> None:
        self._wire = wire
        self._member = member

    async def carry(self, request: web.Request) -> web.Response:
        frame = await request.read()
        try:
            source = decode(frame, _LIMITS).member
            if self._wire.joins(source, self._member.name):
                return await self._wire.pass_on(self._member, frame)
        except (DecodeError, aiohttp.ClientError, OSError) as error:
            return web.Response(status=502, text=str(error))
        # A cut network does not answer, and the sender would wait until its deadline. This ends the wait earlier.
        await asyncio.sleep(0.2)
        return web.Response(status=504, text="nothing gets through")
