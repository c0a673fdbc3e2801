"""Chooses the server for each request.

In order: first the server that answered last, then those after it. This suits a command, which makes few requests and
needs consistent answers. Round robin: healthy servers in turn, then failing ones, the soonest due first. A failing
server is not used for a pause that doubles with each failure in a row, and is at least what the server itself asks for.
Its next answer, to a request or to a probe, makes it healthy again. If all fail, all are tried: a client never refuses
a request by itself.
"""

from __future__ import annotations

import asyncio
import enum
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

_PLAIN = re.compile(r"https?://(?:[A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):([0-9]{1,5})", re.ASCII)

PAUSE_S_MIN = 0.5
PAUSE_S_MAX = 30.0


def is_plain(url: object) -> bool:
    """Whether it is http(s)://host:port and nothing else, as members advertise themselves."""
    match = _PLAIN.fullmatch(url) if isinstance(url, str) else None
    return match is not None and 0 < int(match[1]) < 65_536


class Choice(enum.Enum):
    IN_ORDER = "in order"
    ROUND_ROBIN = "round robin"


@dataclass(slots=True)
class Endpoint:
    url: str
    failures: int = 0
    """Number of failures in a row."""
    retry_at_s: float = 0.0

    @property
    def is_healthy(self) -> bool:
        return self.failures == 0


class Endpoints:
    """`now_s` is any clock that never goes back, the same in all calls. The URLs have no slash at their end."""

    def __init__(self, urls: Sequence[str], choice: Choice, rng: random.Random | None = None) -> None:
        assert urls
        self._all = [Endpoint(url) for url in urls]
        self._choice = choice
        self._rng = rng or random.Random()
        # Clients that start at the same time begin with different servers.
        self._next = 0 if choice is Choice.IN_ORDER else self._rng.randrange(len(self._all))
        self.some_fail = asyncio.Event()

    def __len__(self) -> int:
        return len(self._all)

    @property
    def first(self) -> Endpoint:
        """The server that is asked first in the order of the list."""
        return self._all[self._next]

    def order(self, preferred: str | None = None) -> list[Endpoint]:
        """All servers, in the order in which one call tries them. `preferred` comes first while it is healthy."""
        turned = self._all[self._next :] + self._all[: self._next]
        if self._choice is Choice.IN_ORDER:
            return turned
        self._next = (self._next + 1) % len(self._all)
        ordered = [endpoint for endpoint in turned if endpoint.is_healthy]
        ordered.sort(key=lambda endpoint: endpoint.url != preferred)
        return ordered + self.failing()

    def failing(self) -> list[Endpoint]:
        """The soonest due first."""
        failing = [endpoint for endpoint in self._all if not endpoint.is_healthy]
        return sorted(failing, key=lambda endpoint: endpoint.retry_at_s)

    def succeeded(self, endpoint: Endpoint) -> None:
        endpoint.failures = 0
        if self._choice is Choice.IN_ORDER:
            self._next = self._all.index(endpoint)

    def failed(self, endpoint: Endpoint, now_s: float, retry_after_s: float | None = None) -> None:
        pause_s: float = min(PAUSE_S_MIN * 2 ** min(endpoint.failures, 16), PAUSE_S_MAX)
        endpoint.failures += 1
        # With jitter, so that the clients of a recovered server do not all return at the same time.
        endpoint.retry_at_s = now_s + max(pause_s * self._rng.uniform(0.5, 1.0), retry_after_s or 0.0)
        self.some_fail.set()
