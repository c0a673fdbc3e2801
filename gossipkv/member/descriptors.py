"""Notices when the process runs out of file descriptors.

Without a free descriptor, new connections of clients and peers wait (`intake/port.py`), and this member can open no
connections, so its peers seem unreachable. Therefore the open descriptors are counted. A shortage is logged once when
it begins, and once when it ends.
"""

from __future__ import annotations

import errno
import resource
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

SHORT_SHARE = 0.9
ENOUGH_SHARE = 0.8
LOOK_SECONDS = 2.0

log = structlog.get_logger("gossipkv.node")


@dataclass(frozen=True, slots=True)
class DescriptorStatus:
    """A member's report on its file descriptors."""

    open: int | None
    """The number of open descriptors; None if the system does not tell."""
    limit: int | None
    """The maximum number; None if there is none."""
    short_seconds: float | None
    """The time for which there have been too few; None while there are enough."""


def count_open() -> int | None:
    """Return the number of open descriptors; None if the system does not tell. If no descriptor is left to count them
    with, return the limit."""
    try:
        return sum(1 for _ in Path("/dev/fd").iterdir())
    except OSError as error:
        return limit() if error.errno in (errno.EMFILE, errno.ENFILE) else None


def limit() -> int | None:
    """Return the maximum number of open descriptors; None if there is none."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


class Descriptors:
    """The watch on this process's descriptors. `now` counts seconds."""

    def __init__(
        self,
        now: Callable[[], float],
        count_open: Callable[[], int | None] = count_open,
        limit: Callable[[], int | None] = limit,
    ) -> None:
        self._now = now
        self._count_open = count_open
        self._limit = limit
        self._looked_at: float | None = None
        self._short_since: float | None = None
        self._open: int | None = None
        self._most: int | None = None

    def look(self) -> None:
        """Count the descriptors, unless this was done less than `LOOK_SECONDS` ago. Log the beginning and the end of a
        shortage."""
        now = self._now()
        if self._looked_at is not None and now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        self._open, self._most = self._count_open(), self._limit()
        if self._open is None or self._most is None:
            return
        if self._short_since is None and self._open >= SHORT_SHARE * self._most:
            self._short_since = now
            log.warning(
                "file_descriptors_short",
                open=self._open,
                limit=self._most,
                consequence="once none is left, new connections of clients and peers wait, and no peer is reached",
                remedy="raise the limit (ulimit -n, LimitNOFILE), or find the client that opens the connections",
            )
        elif self._short_since is not None and self._open < ENOUGH_SHARE * self._most:
            self._short_since = None
            log.warning("file_descriptors_enough_again", open=self._open, limit=self._most)

    def status(self) -> DescriptorStatus:
        """Return what the last look found."""
        since = self._short_since
        return DescriptorStatus(self._open, self._most, None if since is None else self._now() - since)
