"""Durations in queries: a number and its unit, as `500ms`, `30s`, `5m`, `1h`, `7d`."""

from __future__ import annotations

import re

from gossipkv.api.problem import ProblemError

_DURATION = re.compile(r"([0-9]{1,12})(ms|s|m|h|d)")
_UNIT_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
DURATION_MS_MAX = 100 * 366 * 86_400_000
"""A century: what comes out is a time that every part of the program can hold."""


def milliseconds_of(name: str, text: str) -> int:
    """The milliseconds that a parameter asks for, from 1 on."""
    match = _DURATION.fullmatch(text)
    duration_ms = int(match[1]) * _UNIT_MS[match[2]] if match else 0
    if not 1 <= duration_ms <= DURATION_MS_MAX:
        raise ProblemError(
            "invalid-parameter", f"`{name}` is a number above 0 and a unit, as `500ms`, `30s`, `5m`, `1h`, `7d`",
            parameter=name,
        )  # fmt: skip
    return duration_ms
