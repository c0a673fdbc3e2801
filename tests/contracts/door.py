"""A door to one member: a way in, with the calls that all ways have.

Each door carries out the same calls, which have the names and the arguments of `client.Table`, and says what came of
them in the same words. A call that is refused raises RefusedCallError, with the type of the problem.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from gossipkv import Row, Written

TYPE_PREFIX = "urn:gossipkv:problem:"
UNKNOWN_OPTION = "unknown-parameter"
"""A keyword that a method does not have is a TypeError."""


DELETED = object()
"""Stands for the value of a row that is to be deleted."""


class RefusedCallError(Exception):
    def __init__(self, problem: str, error: Exception | None, facts: dict[str, Any]) -> None:
        super().__init__(f"{problem}: {error or facts}")
        self.problem = problem
        """The type, without what all types begin with."""
        self.error = error
        """What a program is given; None over HTTP."""
        self.facts = facts


class Found(NamedTuple):
    """A row that was read."""

    value: bytes | None
    siblings: tuple[bytes, ...]
    etag: str | None
    context: str | None


class Line(NamedTuple):
    """What became of an operation of a batch."""

    row: str | None
    problem: str
    has_etag: bool
    has_receipt: bool


class Seen(NamedTuple):
    """A change that a watcher was told."""

    kind: str
    row: str
    value: bytes | None = None
    siblings: tuple[bytes, ...] = ()
    has_context: bool = False


class Door:
    """A way to the first of two members."""

    name: str

    async def get(self, table: str, key: Any, *, r: Any = None, namespace: Any = "usr") -> Found | None:
        raise NotImplementedError

    async def write(self, table: Any, key: Any, value: Any, options: dict[str, Any], namespace: Any) -> Written:
        """Put a row; delete it if the value is DELETED."""
        raise NotImplementedError

    async def put(self, table: Any, key: Any, value: Any, *, namespace: Any = "usr", **options: Any) -> Written:
        return await self.write(table, key, value, options, namespace)

    async def delete(self, table: Any, key: Any, *, namespace: Any = "usr", **options: Any) -> Written:
        return await self.write(table, key, DELETED, options, namespace)

    async def range(self, table: str, *, namespace: str = "usr", **bounds: Any) -> list[Row]:
        raise NotImplementedError

    async def pages(self, table: str, *, namespace: str = "usr", **bounds: Any) -> list[Row]:
        """The rows of all pages, up to a limit."""
        raise NotImplementedError

    async def batch(self, table: str, operations: Any, *, namespace: str = "usr", **options: Any) -> list[Line]:
        raise NotImplementedError

    async def update(self, table: str, key: str, change: Any, **options: Any) -> Written | None:
        raise NotImplementedError

    async def watch(self, table: str, count: int, **options: Any) -> tuple[list[Seen], str]:
        """The first changes of a watch, and the id of the last one."""
        raise NotImplementedError

    async def describe(self, table: str, *, namespace: str = "usr") -> dict[str, Any] | None:
        raise NotImplementedError

    async def configure(self, table: str, *, namespace: str = "usr", **settings: Any) -> None:
        raise NotImplementedError

    async def drop(self, table: str, *, namespace: str = "usr") -> None:
        raise NotImplementedError

    async def tables(self, namespace: Any = "usr") -> list[str]:
        raise NotImplementedError

    async def receipt(self, receipt: Any, **options: Any) -> dict[str, Any]:
        raise NotImplementedError

    async def cluster(self, **options: Any) -> dict[str, Any]:
        raise NotImplementedError

    async def forget(self, member: Any, **options: Any) -> None:
        raise NotImplementedError
