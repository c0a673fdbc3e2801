"""The command line as a door: each call is a command, run in this process.

A command writes to streams of its own, so that two can run at once. What it raises is reported as by `gossipkv` itself.
"""

from __future__ import annotations

import asyncio
import io
import json
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple

import click

from gossipkv import ClientError, Put, Row, Written
from gossipkv.cli import reported, run
from gossipkv.cli.terminal.exit_code import ExitCode
from gossipkv.client import (
    ConditionFailedError,
    InvalidArgumentError,
    NotFoundError,
    TooFewCopiesError,
    UnavailableError,
    value_from_json,
    value_to_json,
)
from gossipkv.client.errors import error_of_request, type_of
from gossipkv.rows.errors import ErrorKind, RequestError
from gossipkv.rows.escapes import escaped
from tests.contracts.door import DELETED, UNKNOWN_OPTION, Door, Found, Line, RefusedCallError, Seen

_CODES: list[tuple[type[ClientError], ExitCode]] = [
    (InvalidArgumentError, ExitCode.USAGE),
    (NotFoundError, ExitCode.NOT_FOUND),
    (ConditionFailedError, ExitCode.CONDITION_FAILED),
    (TooFewCopiesError, ExitCode.NOT_CONVERGED),
    (UnavailableError, ExitCode.UNAVAILABLE),
    (ClientError, ExitCode.ERROR),
]
"""The exit code of each error; the first that fits."""
_OF_CHOICES = {"namespace": "unknown-namespace", "conflicts": "unsupported-setting"}
"""What options of a few words refuse by themselves, and the type that other doors give it."""
_REJECTED = re.compile("line ([0-9]+): (.*)")


class Ended(NamedTuple):
    """A command that has ended."""

    code: int
    out: bytes
    err: str
    error: BaseException | None
    """What was reported."""


class CommandDoor(Door):
    name = "command"

    def __init__(self, url: str) -> None:
        self._url = url

    async def get(self, table: str, key: Any, *, r: Any = None, namespace: Any = "usr") -> Found | None:
        asked = await self._ask("get", table, key, **_given(r=r), output="json", namespace=namespace)
        if asked.code == ExitCode.NOT_FOUND:
            return None
        assert asked.code in (ExitCode.OK, ExitCode.SIBLINGS)
        item = json.loads(asked.out)
        siblings = tuple(value_from_json(value) for value in item.get("siblings", ()))
        assert (asked.code == ExitCode.SIBLINGS) == bool(siblings)
        value = None if siblings else value_from_json(item["value"])
        return Found(value, siblings, item["etag"], item["context"])

    async def write(self, table: Any, key: Any, value: Any, options: dict[str, Any], namespace: Any) -> Written:
        if value is DELETED:
            asked = await self._ask("delete", table, key, namespace=namespace, **options)
        else:
            asked = await self._ask("put", table, key, "-", given=value, namespace=namespace, **options)
        assert asked.code == ExitCode.OK
        told = dict(line.split(" ") for line in asked.err.splitlines())
        return Written(told.get("etag"), None, told["receipt"])

    async def range(self, table: str, *, namespace: str = "usr", **bounds: Any) -> list[Row]:
        # A command chooses the size of its pages itself.
        bounds.pop("page_rows", None)
        return await self.pages(table, namespace=namespace, **bounds)

    async def pages(self, table: str, *, namespace: str = "usr", **bounds: Any) -> list[Row]:
        asked = await self._ask("list", table, output="json", namespace=namespace, **bounds)
        assert asked.code == ExitCode.OK
        return [_listed(json.loads(line)) for line in asked.out.splitlines()]

    async def batch(self, table: str, operations: Any, *, namespace: str = "usr", **options: Any) -> list[Line]:
        """An import, which tells the lines that were rejected, and neither etags nor receipts."""
        assert namespace == "usr"
        assert all(each == Put(each.row, each.value) for each in operations), "an import puts, without conditions"
        lines = [{"row": each.row, "value": value_to_json(each.value)} for each in operations]
        given = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        asked = await self._ask("import", table, "-", given=given, **options)
        rejected = {int(match[1]): match[2] for line in asked.err.splitlines() if (match := _REJECTED.fullmatch(line))}
        assert asked.code == (ExitCode.ERROR if rejected else ExitCode.OK)
        problems = [_titled(rejected[at]) if at in rejected else "" for at in range(1, len(lines) + 1)]
        return [Line(line["row"], problem, False, False) for line, problem in zip(lines, problems, strict=True)]

    async def watch(self, table: str, count: int, **options: Any) -> tuple[list[Seen], str]:
        asked = await self._ask("watch", table, output="json", lines_max=count, **options)
        changes = [json.loads(line) for line in asked.out.splitlines()]
        return [_seen(change) for change in changes], changes[-1]["id"]

    async def describe(self, table: str, *, namespace: str = "usr") -> dict[str, Any] | None:
        asked = await self._ask("tables get", table, namespace=namespace)
        described: dict[str, Any] | None = None if asked.code == ExitCode.NOT_FOUND else json.loads(asked.out)
        return described

    async def configure(self, table: str, *, namespace: str = "usr", **settings: Any) -> None:
        words = {f"--{name}": value for name, value in settings.items()}
        asked = await self._ask("tables set", table, namespace=namespace, **words)
        assert (asked.code, json.loads(asked.out)["table"]) == (ExitCode.OK, table)

    async def drop(self, table: str, *, namespace: str = "usr") -> None:
        assert (await self._ask("tables drop", table, force=True, namespace=namespace)).code == ExitCode.OK

    async def tables(self, namespace: Any = "usr") -> list[str]:
        asked = await self._ask("tables", namespace=namespace, output="json")
        return [json.loads(line)["table"] for line in asked.out.splitlines()]

    async def receipt(self, receipt: Any, **options: Any) -> dict[str, Any]:
        named = {"timeout" if name == "within" else name: option for name, option in options.items()}
        asked = await self._ask("receipt", receipt, output="json", **named)
        assert asked.code in (ExitCode.OK, ExitCode.NOT_CONVERGED)
        covered: dict[str, Any] = json.loads(asked.out)
        return covered

    async def cluster(self, **options: Any) -> dict[str, Any]:
        asked = await self._ask("status", output="json", **options)
        # One of the members has no HTTP endpoint to be asked at.
        assert asked.code == ExitCode.NOT_CONVERGED
        surveyed: dict[str, Any] = json.loads(asked.out)
        return surveyed

    async def forget(self, member: Any, **options: Any) -> None:
        assert (await self._ask("members forget", member, **options)).code == ExitCode.OK

    async def _ask(
        self, command: str, *names: Any, given: bytes = b"", lines_max: int | None = None, **options: Any
    ) -> Ended:
        """Raises RefusedCallError for what the member or the command refuses."""
        assert all(isinstance(name, str) for name in names), "a command line is text"
        words = [*command.split(), f"--server={self._url}", *_words(options), "--", *names]
        ended = await _ended(words, given, lines_max)
        if ended.error is not None:
            _judge(ended, ended.error)
        return ended


def _given(**options: Any) -> dict[str, Any]:
    return {name: option for name, option in options.items() if option is not None}


def _words(options: dict[str, Any]) -> Iterator[str]:
    for name, option in options.items():
        if option is False:
            continue
        if len(name) == 1:
            yield f"-{name}{option}"
        else:
            word = f"--{name.removeprefix('--').replace('_', '-')}"
            yield word if option is True else f"{word}={option}"


def _listed(item: dict[str, Any]) -> Row:
    value = value_from_json(item["value"]) if "value" in item else None
    siblings = tuple(value_from_json(each) for each in item.get("siblings", ()))
    return Row(item["row"], value, item["etag"], item.get("context"), siblings)


def _seen(change: dict[str, Any]) -> Seen:
    siblings = tuple(value_from_json(value) for value in change.get("siblings", ()))
    value = siblings[0] if siblings else value_from_json(change["value"]) if "value" in change else None
    return Seen(change["event"], change.get("row", ""), value, siblings, "context" in change)


def _titled(reason: str) -> str:
    """The type of the problem that a text for people begins with."""
    return next(kind.type for kind in ErrorKind if reason.startswith(f"{kind.title}: "))


def _judge(ended: Ended, error: BaseException) -> None:
    """Raises RefusedCallError if the call was refused. In any case the command has said why on one line, with the exit
    code that is documented."""
    assert "Traceback" not in ended.err
    assert "fault of gossipkv" not in ended.err
    last = ended.err.splitlines()[-1]
    assert last.startswith("Error: ")
    assert isinstance(error, click.ClickException)
    cause = error.__cause__
    if isinstance(cause, RequestError):
        cause = error_of_request(cause)
    if isinstance(cause, ClientError):
        assert ended.code == next(code for kind, code in _CODES if isinstance(cause, kind))
        assert escaped(str(cause))[:40] in last
        raise RefusedCallError(type_of(cause.problem), cause, cause.problem) from error
    if isinstance(error, click.UsageError):
        assert ended.code == ExitCode.USAGE
        raise RefusedCallError(_of_usage(error), None, {"title": last}) from error


def _of_usage(error: click.UsageError) -> str:
    if isinstance(error, click.NoSuchOption):
        return UNKNOWN_OPTION
    name = error.param.name if isinstance(error, click.BadParameter) and error.param is not None else None
    return _OF_CHOICES.get(name or "", ErrorKind.INVALID_PARAMETER.type)


# Commands in threads of this process


async def _ended(words: list[str], given: bytes, lines_max: int | None) -> Ended:
    """Run a command. Its output is closed after this number of lines, if one is given."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[Ended] = loop.create_future()

    def tell(result: Ended) -> None:
        if not ended.done():
            ended.set_result(result)

    def carry_out() -> None:
        with _streams(given, lines_max) as (out, err):
            code, error = _code(words)
            result = Ended(code, out.getvalue(), err.getvalue().decode(), error)
        loop.call_soon_threadsafe(tell, result)

    # A watch that tells nothing must not keep the process from ending.
    threading.Thread(target=carry_out, daemon=True).start()
    return await ended


def _code(words: list[str]) -> tuple[int, BaseException | None]:
    try:
        return run(words), None
    except BrokenPipeError:
        return ExitCode.OK, None
    except BaseException as error:
        return reported(error), error


class _Output(io.BytesIO):
    """Output that its reader closes once it has this number of lines."""

    def __init__(self, lines_max: int | None) -> None:
        super().__init__()
        self._lines_max = lines_max

    def write(self, content: Any, /) -> int:
        size = super().write(content)
        if self._lines_max is not None and self.getvalue().count(b"\n") >= self._lines_max:
            raise BrokenPipeError
        return size


class _OfThread:
    """Stands for a stream of `sys`: for that of the command in this thread, otherwise for the real one."""

    of_thread: ClassVar[threading.local] = threading.local()

    def __init__(self, name: str, real: Any) -> None:
        self._name = name
        self._real = real

    def __getattr__(self, attribute: str) -> Any:
        return getattr(getattr(self.of_thread, self._name, self._real), attribute)


_NAMES = ("stdin", "stdout", "stderr")
_installed: list[Callable[[], None]] = []
_running = 0
_lock = threading.Lock()


@contextmanager
def _streams(given: bytes, lines_max: int | None) -> Iterator[tuple[io.BytesIO, io.BytesIO]]:
    out, err = _Output(lines_max), io.BytesIO()
    of_thread = _OfThread.of_thread
    of_thread.stdin = io.TextIOWrapper(io.BufferedReader(io.BytesIO(given)))
    of_thread.stdout = io.TextIOWrapper(out, "utf-8", write_through=True)
    of_thread.stderr = io.TextIOWrapper(err, "utf-8", "backslashreplace", write_through=True)
    _count(1)
    try:
        yield out, err
    finally:
        _count(-1)
        for name in _NAMES:
            delattr(of_thread, name)


def _count(more: int) -> None:
    """Count the commands that run. While there are any, streams are those of threads."""
    global _running
    with _lock:
        if not _running:
            for name in _NAMES:
                real = getattr(sys, name)
                _installed.append(lambda name=name, real=real: setattr(sys, name, real))  # type: ignore[misc]
                setattr(sys, name, _OfThread(name, real))
        _running += more
        if not _running:
            while _installed:
                _installed.pop()()
