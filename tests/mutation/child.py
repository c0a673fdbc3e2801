"""Runs something in a forked process: what it changes, breaks or never ends stays there."""

from __future__ import annotations

import os
import pickle
import resource
import select
import signal
import time
import traceback
from collections.abc import Callable
from typing import Any

BYTES_MAX = 4 * 2**30
"""An endless loop may allocate; the machine must not suffer."""


class EndedEarlyError(Exception):
    """The process was stopped, or ended without an answer."""


def in_child(act: Callable[[], Any], seconds: float) -> Any:
    """Call a function in a fork of this process; returns what it returned. Raises EndedEarlyError if that takes longer
    or the process dies, and RuntimeError if the function raises."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _answer(act, writing)
    os.close(writing)
    try:
        answer = _read(reading, time.monotonic() + seconds)
    finally:
        os.close(reading)
        _kill(child)
    if not answer:
        raise EndedEarlyError
    value, error = pickle.loads(answer)
    if error is not None:
        raise RuntimeError(error)
    return value


def limit_cpu(seconds: float) -> None:
    """End this process if it computes for longer than this from now on; 0: let it."""
    signal.setitimer(signal.ITIMER_PROF, seconds)


def _answer(act: Callable[[], Any], writing: int) -> None:
    """Never returns."""
    try:
        os.setsid()
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_DATA, (BYTES_MAX, BYTES_MAX))
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        try:
            answer = pickle.dumps((act(), None))
        except Exception:
            answer = pickle.dumps((None, traceback.format_exc()))
        limit_cpu(0)
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(answer)
    finally:
        os._exit(0)


def _read(reading: int, until: float) -> bytes:
    """What comes until the other end is closed; nothing if that is too late."""
    parts: list[bytes] = []
    while select.select([reading], [], [], max(0.0, until - time.monotonic()))[0]:
        part = os.read(reading, 2**16)
        if not part:
            return b"".join(parts)
        parts.append(part)
    return b""


def _kill(child: int) -> None:
    """End the process and those that it started."""
    try:
        os.killpg(child, signal.SIGKILL)
    except ProcessLookupError:
        # It has ended, or has not come to lead a group of its own.
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
