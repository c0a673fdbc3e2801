"""Many writes in one request: NDJSON in, NDJSON out, both streamed, in bounded memory.

A line is `{"row": "...", "value": ...}` or `{"row": "...", "delete": true}`, each with an `etag` that the row must have
if one is given, a `context` as in `Gossipkv-Context`, and for a put a `ttl`. `siblings` of a listed row are ignored:
its `value` is put.

Every line that is not blank gets one result, in order. A bad line gets an error, and does not affect the others. Lines
that have arrived are written in groups, each one transaction unless room is short; while one group commits, the next is
parsed. If a group cannot be written, each of its lines gets the error; if there is no room, only its puts do. A line is
known to be stored once its result has arrived; later lines may be stored too. A client that sends without reading
results is cut off when it has read none for the deadline of the body.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import structlog
from aiohttp import StreamReader, web
from aiohttp.web_protocol import RequestPayloadError

from gossipkv.api.answers.alone import alone_headers
from gossipkv.api.answers.json_rows import json_text, value_of
from gossipkv.api.handlers.consistency import Wanted, wanted_of
from gossipkv.api.handlers.listing import NDJSON
from gossipkv.api.options import ApiOptions
from gossipkv.api.problem import ProblemError, problem_for
from gossipkv.api.requests.body import refuse_encoding, timed_out
from gossipkv.api.requests.target import Parameters, Target, namespace_of, table_of
from gossipkv.core.model.address import address_of
from gossipkv.core.model.write import Declined, NotMatched, Operation, Result, StoredWrite
from gossipkv.core.waits.answers import Receipt
from gossipkv.intake.body import share_of
from gossipkv.intake.bound import Share
from gossipkv.member.node import MemberNode
from gossipkv.member.waits import CopiesMissingError
from gossipkv.rows.arguments.conditions import tags_of
from gossipkv.rows.arguments.durations import life_ms_of
from gossipkv.rows.arguments.invalid import InvalidInputError, ValueTooLargeError
from gossipkv.rows.arguments.names import row_key
from gossipkv.rows.errors import RequestError, internal_error
from gossipkv.rows.view.context_token import seen_in
from gossipkv.rows.view.refusals import refused, request_error_of

GroupOutcome = Sequence[Result | RequestError] | RequestError
"""The outcome of a group: a result or an error per operation, or one error for all."""

_FIELDS = frozenset({"row", "value", "delete", "etag", "ttl", "context", "siblings"})
_parse = json.JSONDecoder().raw_decode

_EXAMINED_BYTES_MIN = 64 * 1024
_SEPARATORS = (b",", b"[", b"{")
_SEPARATORS_MAX = 10_000
_LARGE_GROUP_BYTES = 128 * 1024
_ROOM_POLL_SECONDS = 0.02

log = structlog.get_logger("gossipkv.api")


class Refused(NamedTuple):
    """The place of a line that is not an operation."""

    row: str | None
    error: ProblemError | RequestError


@dataclass(slots=True)
class Group:
    """Lines that are written together. A place is the row of an operation, or a refusal."""

    size_bytes: int = 0
    """Of the lines."""
    places: list[str | Refused] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)


class BatchHandlers:
    def __init__(self, node: MemberNode, options: ApiOptions) -> None:
        self._node = node
        self._options = options

    async def post(self, request: web.BaseRequest, target: Target, parameters: Parameters) -> web.StreamResponse:
        namespace = namespace_of(target, for_writing=True)
        table = table_of(target)
        refuse_encoding(request)
        wanted = wanted_of(parameters, self._node.defaults_of(namespace, table)[0])
        response = web.StreamResponse(headers={"Content-Type": NDJSON} | alone_headers(self._node))
        await response.prepare(request)
        share = share_of(request)
        stream = _Stream(self._node, self._options, namespace, table, wanted, response, share)
        try:
            await stream.run(request.content)
        except* ConnectionError:
            pass
        except* TimeoutError:
            log.warning("batch_results_not_taken", table=table, consequence="the connection is closed")
        except* Exception as failures:
            log.error("batch_failed", table=table, exc_info=failures)
        if not stream.is_complete:
            # The response has begun, so an error can only be shown by ending it early.
            raise ConnectionAbortedError("the batch was cut off")
        return response


class _Stream:
    """One request under way."""

    def __init__(
        self,
        node: MemberNode,
        options: ApiOptions,
        namespace: str,
        table: str,
        wanted: Wanted,
        response: web.StreamResponse,
        share: Share,
    ) -> None:
        self._share = share
        """What the lines take that are not answered yet."""
        self._unanswered_bytes = 0
        self._node = node
        self._options = options
        self._namespace = namespace
        self._wanted = wanted
        self._prefix = address_of(table, b"")
        self._response = response
        self._slots = asyncio.Semaphore(options.batch_groups_in_flight)
        self._written: asyncio.Queue[tuple[Group, asyncio.Task[GroupOutcome]] | None] = asyncio.Queue()
        self.is_complete = False

    async def run(self, content: StreamReader) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._answer())
            async for lines in self._lines(content):
                group = self._parsed(lines)
                for _ in range(self._slots_of(group)):
                    await self._slots.acquire()
                # Tasks start in order, and the node keeps the order in which they ask.
                self._written.put_nowait((group, tasks.create_task(self._write(group.operations))))
            self._written.put_nowait(None)
        self.is_complete = True

    def _slots_of(self, group: Group) -> int:
        """A full group takes half of the slots. So one batch has at most two full groups under way, or as many rows in
        small ones: more would fill the inbox, and lines would be refused that wait for nothing but each other."""
        half = max(1, self._options.batch_groups_in_flight // 2)
        if group.size_bytes > _LARGE_GROUP_BYTES:
            return half
        return max(1, math.ceil(half * len(group.operations) / self._options.batch_group_rows_max))

    async def _lines(self, content: StreamReader) -> AsyncIterator[list[bytes | ProblemError]]:
        """The lines that have arrived, in groups; a problem replaces a line that could not be read."""
        rows_max = self._options.batch_group_rows_max
        bytes_max = self._options.batch_line_bytes_max
        # The beginning of a line that is incomplete. Not a list of pieces: these may be of one byte each.
        begun = bytearray()
        is_skipping = False
        while True:
            chunk = await self._next(content)
            if isinstance(chunk, ProblemError):
                yield [chunk]
                return
            *complete, rest = chunk.split(b"\n")
            lines: list[bytes | ProblemError] = [*complete]
            if complete:
                lines[0] = b"" if is_skipping else bytes(begun + complete[0])
                begun, is_skipping = bytearray(), False
            if not is_skipping:
                begun += rest
            if not chunk:
                lines.append(bytes(begun))
                begun.clear()
            elif len(begun) > bytes_max:
                lines.append(_line_too_long(bytes_max))
                begun, is_skipping = bytearray(), True
            self._unanswered_bytes += sum(len(line) for line in lines if isinstance(line, bytes))
            self._share.keep(len(begun) + self._unanswered_bytes)
            for at in range(0, len(lines), rows_max):
                yield lines[at : at + rows_max]
            if not chunk:
                return

    async def _next(self, content: StreamReader) -> bytes | ProblemError:
        """The next bytes, none at the end."""
        try:
            async with asyncio.timeout(self._options.body_timeout_seconds):
                chunk = await content.readany()
            if not await self._has_room_for(chunk):
                self._response.force_close()
                return ProblemError(
                    "overloaded", "lines of other requests take all the memory that there is for bodies"
                )
            return chunk
        except TimeoutError:
            self._response.force_close()
            return timed_out(self._options.body_timeout_seconds)
        except RequestPayloadError:
            self._response.force_close()
            return ProblemError("invalid-body", "the body is not well-formed HTTP")

    async def _has_room_for(self, chunk: bytes) -> bool:
        """Take room for the bytes. Waits for answers to other lines, which make room."""
        deadline = asyncio.get_running_loop().time() + self._options.body_timeout_seconds
        while chunk and not self._share.bound.has_room(len(chunk), self._share.held):
            if asyncio.get_running_loop().time() > deadline:
                break
            await asyncio.sleep(_ROOM_POLL_SECONDS)
        return not chunk or self._share.take(len(chunk))

    def _parsed(self, lines: list[bytes | ProblemError]) -> Group:
        group = Group()
        prefix, options = self._prefix, self._options
        for line in lines:
            group.size_bytes += len(line) if isinstance(line, bytes) else 0
            if isinstance(line, ProblemError):
                group.places.append(Refused(None, line))
            elif line and not line.isspace():
                place = _take(line, prefix, options, group.operations)
                group.places.append(place)
        return group

    async def _write(self, operations: list[Operation]) -> GroupOutcome:
        if not operations:
            return []
        try:
            return await self._node.write(self._namespace, operations, *self._wanted)
        except CopiesMissingError as error:
            return [error if isinstance(result, StoredWrite) else result for result in error.results]
        except Exception as error:
            request_error = request_error_of(error)
            if request_error is None:
                log.error("batch_group_failed", exc_info=error)
            return request_error or internal_error()

    async def _answer(self) -> None:
        while written := await self._written.get():
            group, task = written
            text = _results(group, await task, self._namespace)
            async with asyncio.timeout(self._options.body_timeout_seconds):
                await self._response.write(text)
            self._unanswered_bytes -= group.size_bytes
            self._share.keep(self._share.held - group.size_bytes)
            for _ in range(self._slots_of(group)):
                self._slots.release()


def _line_too_long(bytes_max: int) -> ProblemError:
    return ProblemError(
        "line-too-long",
        f"a line is at most {bytes_max} bytes, which any row that is allowed fits into; `siblings` need not be sent",
        bytes_max=bytes_max,
    )


def _take(line: bytes, prefix: bytes, options: ApiOptions, operations: list[Operation]) -> str | Refused:
    """Add the line's operation to `operations`; returns its place in the group."""
    row: str | None = None
    try:
        if len(line) > options.batch_line_bytes_max:
            raise _line_too_long(options.batch_line_bytes_max)
        entry = _entry(line)
        row = _row(entry)
        operations.append(_operation(prefix + row_key(row), entry, options))
    except (ProblemError, InvalidInputError) as error:
        return Refused(row, error)
    return row


def _entry(line: bytes) -> dict[str, object]:
    if len(line) > _EXAMINED_BYTES_MIN and _separators(line) > _SEPARATORS_MAX:
        # Parsed, `[[],[],...]` would take 30 times the memory of its line.
        raise ProblemError("invalid-line", f"a line has at most {_SEPARATORS_MAX} commas and brackets outside of texts")
    try:
        text = line.decode().strip()
        entry, end = _parse(text)
    except UnicodeDecodeError:
        raise ProblemError("invalid-line", "the line is not UTF-8") from None
    except (ValueError, RecursionError):
        raise ProblemError("invalid-line", "the line is not JSON") from None
    if end != len(text) or not isinstance(entry, dict):
        raise ProblemError("invalid-line", "the line is not one JSON object")
    return entry


def _separators(line: bytes) -> int:
    """The number of commas and opening brackets; those in texts count only if there are few others."""
    count = sum(map(line.count, _SEPARATORS))
    if count <= _SEPARATORS_MAX:
        return count
    # Without the escaped quotes, every second part between quotes is a text.
    quoted = line.replace(b"\\\\", b"").replace(b'\\"', b"")
    if (texts := quoted.count(b'"') // 2) > _SEPARATORS_MAX:
        return texts
    return sum(sum(map(part.count, _SEPARATORS)) for part in quoted.split(b'"')[::2])


def _row(entry: dict[str, object]) -> str:
    row = entry.get("row")
    if not isinstance(row, str):
        raise ProblemError("invalid-line", "`row` is the row's key, as text")
    return row


def _operation(address: bytes, entry: dict[str, object], options: ApiOptions) -> Operation:
    if not entry.keys() <= _FIELDS:
        unknown = ", ".join(sorted(entry.keys() - _FIELDS))
        raise ProblemError("invalid-line", f"the line has fields that are not known: {unknown}")
    etag = entry.get("etag")
    if etag is not None and not isinstance(etag, str):
        raise ProblemError("invalid-line", "`etag` is text")
    if_match = None if etag is None else tags_of("etag", etag)
    context = entry.get("context")
    if context is not None and not isinstance(context, str):
        raise ProblemError("invalid-line", "`context` is text")
    seen = None if context is None else seen_in(context, address)
    if "delete" in entry:
        if entry["delete"] is not True or "value" in entry:
            raise ProblemError("invalid-line", "`delete` is `true`, and the line has no `value`")
        return Operation(address, None, if_match, seen=seen)
    if "value" not in entry:
        raise ProblemError("invalid-line", "the line has neither `value` nor `delete`")
    value = value_of(entry["value"])
    if len(value) > options.value_bytes_max:
        raise ValueTooLargeError(options.value_bytes_max, len(value))
    ttl = entry.get("ttl")
    if ttl is not None and not isinstance(ttl, str):
        raise ProblemError("invalid-line", "`ttl` is text, as `30s`")
    ttl_ms = None if ttl is None else life_ms_of("ttl", ttl)
    return Operation(address, value, if_match, seen=seen, ttl_ms=ttl_ms)


def _results(group: Group, outcome: GroupOutcome, namespace: str) -> bytes:
    """A line per place, in order."""
    lines = []
    at = 0
    for place in group.places:
        if isinstance(place, Refused):
            lines.append(_error_line(place.row, place.error))
            continue
        if isinstance(outcome, RequestError):
            lines.append(_error_line(place, outcome))
            continue
        operation, result = group.operations[at], outcome[at]
        at += 1
        if isinstance(result, RequestError):
            lines.append(_error_line(place, result))
        elif isinstance(result, NotMatched | Declined):
            lines.append(_error_line(place, refused(result)))
        elif operation.value is None:
            receipt = Receipt(namespace, result.dot)
            lines.append(f'{{"row":{json_text(place)},"status":204,"receipt":"{receipt}"}}\n')
        else:
            status = 204 if result.existed else 201
            receipt = Receipt(namespace, result.dot)
            lines.append(
                f'{{"row":{json_text(place)},"status":{status},"etag":"{result.etag}","receipt":"{receipt}"}}\n'
            )
    return "".join(lines).encode()


def _error_line(row: str | None, error: ProblemError | RequestError) -> str:
    problem = error if isinstance(error, ProblemError) else problem_for(error, 0)
    text = json_text({"row": row, "status": problem.status, "problem": problem.fields()})
    return text.encode(errors="replace").decode() + "\n"
