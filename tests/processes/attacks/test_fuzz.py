"""Random bytes, damaged frames and damaged requests to both ports of a real member.

Every answer is 2xx, 4xx or 503, the process survives, and its memory stays bounded. `GOSSIPKV_FUZZ_SECONDS` sets how
long it goes on, and `GOSSIPKV_FUZZ_SEED` the seed.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from gossipkv.codec import encode
from gossipkv.core.model.causality import Context, Dot
from gossipkv.core.model.row import StoredRow, Version
from gossipkv.core.protocol.messages import (
    Delta,
    Digest,
    Envelope,
    Message,
    Offer,
    Ping,
    Range,
    RowCopy,
    WalkBegin,
    WalkFetchRows,
    WalkNodes,
    WalkRows,
)
from gossipkv.core.protocol.rumours import Life, Rumour
from gossipkv.transport.http import CONTENT_TYPE, PATH
from tests.processes.attacks.flooded import Flooded, connected, status_of
from tests.processes.command import free_ports
from tests.processes.conftest import Start

SECONDS = float(os.environ.get("GOSSIPKV_FUZZ_SECONDS", "5"))
SEED = int(os.environ.get("GOSSIPKV_FUZZ_SEED", "1"))
AT_ONCE = 32
QUIET_S = 0.4
GROWTH_MIB_MAX = 64

_TABLE = "/v1/usr/tables/t"
_TARGETS = (
    f"{_TABLE}/rows/k",
    f"{_TABLE}/rows/%6b%00?ttl=30s&w=1",
    f"{_TABLE}/rows?limit=10&prefix=k&cursor=x",
    f"{_TABLE}/rows:batch",
    _TABLE,
    "/v1/usr/tables",
    "/v1/cluster",
    "/v1/cluster/members",
    "/v1/cluster/receipts/usr:1:1?wait=all&timeout=1ms",
    "/livez",
    "/readyz",
    "/metrics",
    "/openapi.json",
    PATH,
)
_HEADERS = (
    'If-Match: "0"',
    "If-None-Match: *",
    "Gossipkv-Context: AAAA",
    "Expect: 100-continue",
    "Transfer-Encoding: chunked",
    "Content-Encoding: gzip",
    "Accept: application/x-ndjson",
    "Last-Event-ID: x",
    "Connection: Upgrade",
    "Upgrade: websocket",
    f"Content-Type: {CONTENT_TYPE}",
)


class Fuzz:
    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def case(self) -> bytes:
        """What one connection sends."""
        kinds: tuple[Callable[[], bytes], ...] = (self.noise, self.frame, self.frame, self.request, self.request)
        return self.rng.choice(kinds)()

    def noise(self) -> bytes:
        return self.rng.randbytes(self.rng.choice((1, 10, 100, 10_000)))

    def frame(self) -> bytes:
        content = encode(Envelope("gossipkv", "other", self._number(), 1, self._now_ms(), self._messages()))
        content = self._damaged(content) if self.rng.random() < 0.8 else content
        content += (
            self.rng.choice((b"", b"\xc0" * 1_000, b"\xcd\xff\xff" * 300_000)) if self.rng.random() < 0.2 else b""
        )
        head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {len(content)}"
        return f"{head}\r\n\r\n".encode() + content

    def request(self) -> bytes:
        rng = self.rng
        method = rng.choice(("GET", "GET", "HEAD", "PUT", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"))
        headers = rng.sample(_HEADERS, rng.choice((0, 0, 1, 2)))
        body = self._body()
        length = len(body) if rng.random() < 0.9 else rng.choice((0, 10, 10**9))
        lines = [f"{method} {rng.choice(_TARGETS)} HTTP/1.1", "Host: x", *headers, f"Content-Length: {length}"]
        request = "\r\n".join([*lines, "", ""]).encode() + body
        if rng.random() < 0.5:
            request = self._damaged(request)
        return request * rng.choice((1, 1, 1, 3))

    def _body(self) -> bytes:
        rng = self.rng
        lines = [{"row": f"k{number}", "value": "v" * rng.choice((1, 100))} for number in range(rng.choice((0, 1, 20)))]
        text = "".join(json.dumps(line) + "\n" for line in lines).encode()
        return rng.choice((b"", text, self._damaged(text or b"x"), rng.randbytes(rng.choice((10, 50_000)))))

    def _messages(self) -> tuple[Message, ...]:
        rng = self.rng
        replica, sequence = self._number(), rng.choice((1, 2, 2**40))
        row = StoredRow((Version(Dot(replica, sequence), self._now_ms() << 16, b"v"),), Context({replica: sequence}))
        rows = (RowCopy(b"t\0k%d" % rng.randrange(9), row),)
        known: tuple[Message, ...] = (
            Digest("usr", self._number(), self._number(), 1, 0, False, 0, False, False),
            Delta("usr", {replica: Range(0, sequence)}, rows, None),
            Offer("usr"),
            Ping((Rumour("m", "suspect", Life(1, 0)),)),
            WalkBegin("usr"),
            WalkNodes("usr", tuple(range(16))),
            WalkFetchRows("usr", (b"t\0k", b"t\0l")),
            WalkRows("usr", rows, None),
        )
        return tuple(rng.sample(known, rng.choice((0, 1, 1, 3))))

    def _damaged(self, content: bytes) -> bytes:
        damaged = bytearray(content)
        for _ in range(self.rng.choice((1, 1, 4))):
            place = self.rng.randrange(len(damaged) or 1)
            match self.rng.randrange(4):
                case 0:
                    damaged[place : place + 1] = bytes((self.rng.randrange(256),))
                case 1:
                    del damaged[max(1, place) :]
                case 2:
                    damaged[place:place] = self.rng.randbytes(self.rng.randrange(9))
                case _:
                    damaged += damaged[place : place + 1_000]
        return bytes(damaged)

    def _number(self) -> int:
        return self.rng.choice((1, 7, 2**63, self.rng.getrandbits(64)))

    def _now_ms(self) -> int:
        return self.rng.choice((0, time.time_ns() // 1_000_000, 2**47))


async def answers(port: int, case: bytes) -> list[int]:
    """The statuses of all answers to one case, until there has been none for a while."""
    received = b""
    try:
        async with connected(port) as (reader, writer):
            writer.write(case)
            while more := await asyncio.wait_for(reader.read(2**20), QUIET_S):
                received += more
    except OSError:
        pass
    return [status for line in received.split(b"\r\n") if (status := status_of(line))]


async def test_whatever_arrives_is_answered_and_survived(start: Start, tmp_path: Path) -> None:
    http_port, gossip_port = free_ports(2)
    command = start(
        *("serve", "--member", "m", "--data-dir", tmp_path / "data", "--bootstrap-timeout-ms", 200),
        *("--http-port", http_port, "--gossip-port", gossip_port, "--body-timeout-s", 1, "--exchange-timeout-s", 1),
    )
    command.says('"ready"')
    member = Flooded(command, http_port, gossip_port)
    await member.serves_again()
    member.begin()
    fuzz = Fuzz(random.Random(SEED))
    found: Counter[int] = Counter()
    cases = 0
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        batch = [(fuzz.rng.choice((http_port, gossip_port)), fuzz.case()) for _ in range(AT_ONCE)]
        for (port, case), statuses in zip(batch, await asyncio.gather(*[answers(*one) for one in batch]), strict=True):
            cases += 1
            found.update(statuses)
            wrong = [status for status in statuses if not (100 <= status < 300 or 400 <= status < 500 or status == 503)]
            assert not wrong, (SEED, port == http_port, case[:2_000], statuses, command.output[-2_000:])
        assert command.process.poll() is None, command.output[-2_000:]
    await member.serves_again()
    member.end()
    print(f"seed {SEED}: {cases} cases, {dict(sorted(found.items()))}, memory grew by {member.growth_mib:.1f} MiB")  # noqa: T201
    assert cases > AT_ONCE
    assert member.growth_mib < GROWTH_MIB_MAX
    assert '"level": "error"' not in command.output, command.output[-4_000:]
