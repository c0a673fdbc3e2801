"""A table as an object.

A read answers one value. Where concurrent writes left several, the table's `resolve` function makes one of them, and
the row's context goes with it: a write with this context replaces exactly what was read, and leaves what has been
written since. Nothing is written by a read.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from inspect import isawaitable
from typing import Any

from gossipkv.client.batch import BatchOutcome, Operation, outcomes
from gossipkv.client.errors import ConditionFailedError, NotFoundError, UnresolvedSiblingsError
from gossipkv.client.path import CONTEXT, RECEIPT, conditions, etag_of, row_path, table_path
from gossipkv.client.requests import Answer, Request, Requests, json_of
from gossipkv.client.row import Row, Sibling, Written, row_from_json, value_from_json
from gossipkv.client.watch import Watch

Resolve = Callable[[Sequence[bytes]], bytes]
"""One value out of several, the latest first. Every client of a table has to use the same one."""
Change = Callable[[bytes | None], bytes | Awaitable[bytes | None] | None]
"""The new value from the current one; None is an absent row."""
Seconds = float | timedelta

UPDATE_ATTEMPTS_MAX = 10


@dataclass(frozen=True, slots=True)
class _Read:
    row: Row | None
    context: str | None
    server: str


class Table:
    """Rows of one table. Methods raise ClientError; see docs/client.md on which, and on what is sent again.
    `idempotent=True` on a write: send it again also where it may have been carried out."""

    def __init__(
        self, requests: Requests, name: str, namespace: str = "usr", *, resolve: Resolve | None = None
    ) -> None:
        self._requests = requests
        self.name = name
        self.namespace = namespace
        self._resolve = resolve

    # One row

    async def get(self, key: str, *, r: int | None = None) -> Row | None:
        """None where there is no such row. `r`: members asked, whose answers are merged. Raises
        UnresolvedSiblingsError where there are several values and no function to resolve them."""
        return self._resolved((await self._read(key, r)).row)

    async def put(
        self,
        key: str,
        value: bytes,
        *,
        ttl: Seconds | None = None,
        w: int | None = None,
        write_wait: Seconds | None = None,
        context: str | None = None,
        if_match: str | None = None,
        if_absent: bool = False,
        idempotent: bool = False,
    ) -> Written:
        """`ttl`: the row's life. `w`: durable copies before the answer, for which `write_wait` is the longest wait.
        `context`: replaces what its reader has seen. `if_match` (an etag, `*` for any) and `if_absent` hold on the copy
        of the member asked; raises ConditionFailedError."""
        query = _consistency(w, write_wait)
        if ttl is not None:
            query["ttl"] = duration_text(ttl)
        headers = {"Content-Type": "application/octet-stream"} | conditions(if_match, if_absent) | _context(context)
        return await self._write("PUT", key, query, headers, value, write_wait, idempotent)

    async def delete(
        self,
        key: str,
        *,
        w: int | None = None,
        write_wait: Seconds | None = None,
        context: str | None = None,
        if_match: str | None = None,
        idempotent: bool = False,
    ) -> Written:
        """Also where there is no such row. Parameters as for `put`."""
        headers = conditions(if_match) | _context(context)
        return await self._write("DELETE", key, _consistency(w, write_wait), headers, None, write_wait, idempotent)

    async def update(
        self,
        key: str,
        change: Change,
        *,
        ttl: Seconds | None = None,
        w: int | None = None,
        attempts_max: int = UPDATE_ATTEMPTS_MAX,
    ) -> Written | None:
        """Read, resolve, change, and write on condition that nothing has changed meanwhile; anew where it has. `change`
        may be asked several times; None from it deletes the row. Returns None where there was nothing to delete.
        Raises ConditionFailedError after so many attempts.

        The condition holds on the member that is read: of two updates through two members at once one wins, unless
        the table keeps siblings."""
        server: str | None = None
        for attempt in range(attempts_max):
            read = await self._read(key, preferred=server)
            server = read.server
            row = self._resolved(read.row)
            wanted = change(None if row is None else row.value)
            value = await wanted if isawaitable(wanted) else wanted
            if row is None and value is None:
                return None
            headers = conditions(None if row is None else row.etag, row is None) | _context(read.context)
            query = _consistency(w, None)
            if ttl is not None and value is not None:
                query["ttl"] = duration_text(ttl)
            try:
                method = "DELETE" if value is None else "PUT"
                return await self._write(method, key, query, headers, value, None, preferred=server)
            except ConditionFailedError:
                if attempt + 1 == attempts_max:
                    raise
        raise AssertionError("at least one attempt")

    async def _read(self, key: str, r: int | None = None, *, preferred: str | None = None) -> _Read:
        query = None if r is None else {"r": str(r)}
        request = Request("GET", self._path(key), query, may_be_absent=True)
        answer = await self._requests.answer(request, preferred=preferred)
        # A deleted row has a context, too: what is put next replaces the deletion.
        row = None if answer.status == 404 else row_of(key, answer)
        return _Read(row, answer.headers.get(CONTEXT), answer.server)

    def _resolved(self, row: Row | None) -> Row | None:
        if row is None or not row.siblings:
            return row
        if self._resolve is None:
            raise UnresolvedSiblingsError(row)
        return replace(row, value=self._resolve([sibling.value for sibling in row.siblings]))

    async def _write(
        self,
        method: str,
        key: str,
        query: dict[str, str],
        headers: dict[str, str],
        value: bytes | None,
        write_wait: Seconds | None,
        idempotent: bool = False,
        *,
        preferred: str | None = None,
    ) -> Written:
        wait_s = 0.0 if write_wait is None else seconds_of(write_wait)
        request = Request(method, self._path(key), query, headers, value, idempotent, wait_s=wait_s)
        answer = await self._requests.answer(request, preferred=preferred)
        return Written(etag_of(answer.headers) or None, answer.headers.get(CONTEXT), answer.headers.get(RECEIPT))

    def _path(self, key: str) -> str:
        return row_path(self.namespace, self.name, key)

    # Many rows

    async def range(
        self,
        *,
        prefix: str | None = None,
        start: str | None = None,
        end: str | None = None,
        keys_only: bool = False,
        page_rows: int = 500,
    ) -> AsyncGenerator[Row]:
        """Rows in order of their keys' UTF-8 bytes, from `start` on, before `end`; a page of up to `page_rows` at a
        time is held. What is written meanwhile behind the page that was read is seen. Rows have no context here."""
        bounds = {"prefix": prefix, "start": start, "end": end, "keys_only": "true" if keys_only else None}
        query = {name: text for name, text in bounds.items() if text is not None} | {"limit": str(page_rows)}
        server: str | None = None
        while True:
            request = Request("GET", table_path(self.namespace, self.name) + "/rows", query, _JSON)
            answer = await self._requests.answer(request, preferred=server)
            server = answer.server
            page = json_of(answer)
            for item in page["items"]:
                row = self._resolved(_listed(item))
                assert row is not None, "it is listed"
                yield row
            if page["next_cursor"] is None:
                return
            query["cursor"] = page["next_cursor"]

    def batch(
        self, operations: Iterable[Operation] | AsyncIterable[Operation], *, idempotent: bool = False
    ) -> AsyncGenerator[BatchOutcome]:
        """Put and delete rows, in order; an outcome for each as they come, and no more held than a request of 500
        operations or 1 MiB. No transaction. Raises UnavailableError where a request is not answered in full."""
        return outcomes(self._requests, self.namespace, self.name, operations, is_idempotent=idempotent)

    def watch(
        self, *, prefix: str | None = None, after: str | None = None, silence_s: float = 60.0, give_up_s: float = 60.0
    ) -> Watch:
        """Changes as they come, from now on, or behind the event id `after`; see Watch."""
        return Watch(
            self._requests,
            self.namespace,
            self.name,
            prefix=prefix,
            after=after,
            silence_s=silence_s,
            give_up_s=give_up_s,
        )

    # The table itself

    async def settings(self) -> dict[str, Any] | None:
        """None where the table has neither rows nor settings."""
        try:
            settings: dict[str, Any] = (await self._requests.json(table_path(self.namespace, self.name)))["settings"]
        except NotFoundError:
            return None
        return settings

    async def configure(self, *, conflicts: str | None = None, w: int | None = None, r: int | None = None) -> None:
        """Change the settings given. `conflicts`: `lww` or `siblings`; `w` and `r`: defaults of writes and reads."""
        given = {"conflicts": conflicts, "w": w, "r": r}
        body = json.dumps({name: value for name, value in given.items() if value is not None}).encode()
        # The same settings twice are those settings.
        await self._requests.answer(Request("PUT", table_path(self.namespace, self.name), None, _JSON_BODY, body))


_JSON = {"Accept": "application/json"}
_JSON_BODY = {"Content-Type": "application/json"}


def row_of(key: str, answer: Answer) -> Row:
    """The row that a GET answered: its value, or all of them (300)."""
    etag, context = etag_of(answer.headers), answer.headers.get(CONTEXT)
    if answer.status != 300:
        return Row(key, answer.body, etag, context)
    return Row(key, None, etag, context, _siblings(json_of(answer)["siblings"]))


def _listed(item: dict[str, Any]) -> Row:
    if "siblings" in item:
        return Row(item["row"], None, item.get("etag"), None, _siblings(item["siblings"]))
    return row_from_json(item)


def _siblings(items: list[dict[str, Any]]) -> tuple[Sibling, ...]:
    return tuple(Sibling(value_from_json(item["value"]), item.get("etag")) for item in items)


def _consistency(w: int | None, write_wait: Seconds | None) -> dict[str, str]:
    query = {} if w is None else {"w": str(w)}
    if write_wait is not None:
        query["write_wait"] = duration_text(write_wait)
    return query


def _context(context: str | None) -> dict[str, str]:
    return {} if context is None else {CONTEXT: context}


def seconds_of(duration: Seconds) -> float:
    return duration.total_seconds() if isinstance(duration, timedelta) else float(duration)


def duration_text(duration: Seconds) -> str:
    """As the API reads it: whole seconds, or milliseconds."""
    milliseconds = round(seconds_of(duration) * 1000)
    return f"{milliseconds // 1000}s" if milliseconds % 1000 == 0 else f"{milliseconds}ms"
