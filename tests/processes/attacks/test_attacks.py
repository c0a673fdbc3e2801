"""Attacks by someone who reaches the gossip port of a real cluster and knows its name: as a member that does not exist,
and in the name of one that does. After each, all members have all rows, and take more."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from gossipkv.codec import Limits, decode, encode
from gossipkv.core.model.address import FORGOTTEN_TABLE, MEMBERS_TABLE, SYSTEM, USER, address_of
from gossipkv.core.model.causality import Context, Dot
from gossipkv.core.model.clock import timestamp_at
from gossipkv.core.model.collected import Proof
from gossipkv.core.model.member import GOSSIP, INCARNATION_END, LEFT, MemberRecord
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.core.protocol.messages import Covered, Delta, Digest, Envelope, Message, Ping, Range, RowCopy, State
from gossipkv.core.protocol.rumours import Life, Rumour
from gossipkv.member.node import wall_clock_ms
from gossipkv.transport.http import CONTENT_TYPE, PATH
from tests.processes.members import Member, Members, eventually

pytestmark = pytest.mark.timeout(400)

STRANGER = 0xBAD
ROWS = {f"row-{number}": f"value-{number}" for number in range(50)}
SETTLE_SECONDS = 4.0
"""Twenty gossip intervals: what an attack does is done by then."""


class Attacker:
    """Sends forged envelopes, and serves at an address of its own."""

    def __init__(self, members: Members) -> None:
        self.members = members
        self.asked: list[str] = []
        """Paths at which members have asked it anything."""
        self.serves_marks = False
        self.replicas: dict[str, int] = {}
        """By member; as at the beginning."""
        self._written = 0

    async def __aenter__(self) -> Attacker:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.endpoint = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.raw_path)
        frame = await request.read()
        if request.path != PATH or not self.serves_marks:
            return web.Response(status=401, text="the secret of an inner service")
        asked = decode(frame, Limits())
        states = {SYSTEM: State(SYSTEM, Context()), USER: self.marks()}
        messages: list[Message] = []
        for message in asked.messages:
            if isinstance(message, Digest):
                messages += [replace(message, context_hash=1, fingerprint=2, proofs_hash=3), states[message.shard]]
        return web.Response(body=encode(self.envelope(*messages)), content_type=CONTENT_TYPE)

    def envelope(self, *messages: Message) -> Envelope:
        now_ms = wall_clock_ms()
        return Envelope("gossipkv", "stranger", STRANGER, now_ms, now_ms, messages, True, now_ms, 1, STRANGER, "")

    async def envelope_as(self, member: Member, *messages: Message) -> Envelope:
        """In the name of a member, which tells anyone who asks all that it takes."""
        return replace(await self.asks(member), messages=messages)

    async def asks(self, member: Member, envelope: Envelope | None = None) -> Envelope:
        async with self.members.session.post(
            f"http://127.0.0.1:{member.proxy.port}{PATH}",
            data=encode(envelope or self.envelope()),
            headers={"Content-Type": CONTENT_TYPE},
        ) as response:
            assert response.status == 200, await response.text()
            return decode(await response.read(), Limits())

    async def sends(self, envelopes: Iterable[Envelope]) -> None:
        """To all members; they may refuse it."""
        for envelope in envelopes:
            for member in self.members.all:
                async with self.members.session.post(
                    f"http://127.0.0.1:{member.proxy.port}{PATH}",
                    data=encode(envelope),
                    headers={"Content-Type": CONTENT_TYPE},
                ) as response:
                    assert response.status in (200, 400, 408, 409, 503), await response.text()

    def marks(self) -> State:
        """That all that was written is collected, and all members were known."""
        replicas = frozenset(self.replicas.values())
        marks = Context(dict.fromkeys(replicas, 10**6))
        return State(USER, marks, (Proof(marks, replicas, replicas),))

    def rows(self, table: str, rows: dict[str, bytes]) -> Delta:
        """Rows of `sys`, later than all others."""
        copies = []
        before = self._written
        for key, value in rows.items():
            self._written += 1
            version = Version(Dot(STRANGER, self._written), timestamp_at(wall_clock_ms() + 1_000), value)
            address = address_of(table, key.encode())
            copies.append(RowCopy(address, StoredRow((version,), Context({STRANGER: self._written}))))
        return Delta(SYSTEM, {STRANGER: Range(before, self._written)}, tuple(copies))


async def rumours(attacker: Attacker) -> list[Envelope]:
    """A5: everyone has left."""
    words = []
    for member in attacker.members.all:
        incarnation = (await attacker.asks(member)).incarnation
        words.append(Rumour(member.name, LEFT, Life(incarnation, 0)))
    first = attacker.members.all[0]
    return [attacker.envelope(Ping(tuple(words))), await attacker.envelope_as(first, Ping(tuple(words)))]


async def forgotten(attacker: Attacker) -> list[Envelope]:
    """A2: all members are forgotten."""
    ids = [f"{replica:016x}" for replica in attacker.replicas.values()]
    return [attacker.envelope(attacker.rows(FORGOTTEN_TABLE, dict.fromkeys(ids, b"{}")))]


async def origins(attacker: Attacker) -> list[Envelope]:
    """A6: claims of 20,000 invented replicas."""
    parts = [Delta(SYSTEM, {2**40 + n: Range(0, 1) for n in range(at, at + 10_000)}, ()) for at in (0, 10_000)]
    return [attacker.envelope(part) for part in parts]


async def records(attacker: Attacker) -> list[Envelope]:
    """A8, A16: endpoints that are requests, members that have left, a start that no message holds."""
    host = attacker.endpoint.removeprefix("http://")
    forged = {
        "lure-1": MemberRecord(STRANGER + 1, 1, {GOSSIP: f"http://{host}/admin/delete?all=yes&x="}),
        "lure-2": MemberRecord(STRANGER + 2, 1, {GOSSIP: f"http://user:password@{host}"}),
    }
    for member in attacker.members.all:
        replica = attacker.replicas[member.name]
        forged[member.name] = MemberRecord(replica, INCARNATION_END - 1, {GOSSIP: member.gossip_url}, has_left=True)
    return [attacker.envelope(attacker.rows(MEMBERS_TABLE, {n: record.to_json() for n, record in forged.items()}))]


async def crowd(attacker: Attacker) -> list[Envelope]:
    """A10: 4,500 members that do not exist, some with names that move the cursor of a terminal."""
    frames = []
    for at in range(0, 4_500, 1_500):
        rows = {
            f"crowd-{number}\x1b]0;x\x07": MemberRecord(
                2**50 + number, 1, {GOSSIP: f"http://127.0.0.9:{1 + number}"}
            ).to_json()
            for number in range(at, at + 1_500)
        }
        frames.append(attacker.envelope(attacker.rows(MEMBERS_TABLE, rows)))
    return frames


async def coverage(attacker: Attacker) -> list[Envelope]:
    """In the name of a member: it has everything, and its data are newer than yours."""
    marks = attacker.marks()
    first = attacker.members.all[0]
    return [await attacker.envelope_as(first, Covered(USER, marks.context)), await attacker.envelope_as(first, marks)]


ATTACKS: tuple[Callable[[Attacker], Awaitable[list[Envelope]]], ...] = (
    rumours,
    forgotten,
    records,
    coverage,
    crowd,
    origins,
)


async def test_a_cluster_stands_attacks_on_its_gossip_ports(tmp_path: Path) -> None:
    async with Members(tmp_path, dialled_hosts="recorded") as members, Attacker(members) as attacker:
        first = members.all[0]
        for row, value in ROWS.items():
            assert await members.put(first, row, value)
        await eventually(members.are_equal, "all rows everywhere")
        attacker.replicas = {member.name: int(await members.replica_id(member), 16) for member in members.all}
        expected = dict(ROWS)

        async def stands(attack: str) -> None:
            for member in members.all:
                row = f"after-{attack}-{member.name}"

                async def is_everywhere(url: str = f"{member.url}/v1/usr/tables/t/rows/{row}?w=3") -> bool:
                    async with members.session.put(url, data=attack) as response:
                        return response.status < 300

                await eventually(is_everywhere, f"a write at {member.name} gets to all after {attack}")
                expected[row] = attack
            for member in members.all:
                assert await members.rows(member) == expected, f"{member.name} has other rows after {attack}"

        for attack in ATTACKS:
            await attacker.sends(await attack(attacker))
            await asyncio.sleep(SETTLE_SECONDS)
            await stands(attack.__name__)

        # A4: a member that starts again dials an invented one, whose answer says that its data are outdated.
        attacker.serves_marks = True
        stranger = MemberRecord(STRANGER, wall_clock_ms(), {GOSSIP: attacker.endpoint})
        await attacker.sends([attacker.envelope(attacker.rows(MEMBERS_TABLE, {"stranger": stranger.to_json()}))])
        for member in members.all:
            await member.kill()
            await member.start(members.all)
            await eventually(members.are_ready, "all are ready again")
        await asyncio.sleep(SETTLE_SECONDS)
        await stands("restarts")
        assert set(attacker.asked) <= {PATH}, "no record chooses the request"
        for member in members.all:
            log = member.log_path.read_text()
            assert "the secret of an inner service" not in log
            assert "\x1b" not in log
            assert '"data_set_aside"' not in log
            async with members.session.get(f"{member.url}/metrics") as response:
                assert len(await response.text()) < 500_000
            for line in filter(None, log.splitlines()):
                assert json.loads(line)["level"] != "error", line
