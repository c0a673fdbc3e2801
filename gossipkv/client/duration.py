"""Durations: seconds, a timedelta, or text as the API takes it, such as 500ms, 30s, 5m, 1h, 7d."""

from __future__ import annotations

import re
from datetime import timedelta

from gossipkv.client.errors import RefusedError

Duration = float | timedelta | str

_TEXT = re.compile(r"([0-9]{1,12})(ms|s|m|h|d)")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


def seconds_of(duration: Duration) -> float:
    """Raises RefusedError."""
    if isinstance(duration, timedelta):
        return duration.total_seconds()
    if not isinstance(duration, str):
        return float(duration)
    match = _TEXT.fullmatch(duration)
    if match is None:
        raise RefusedError(f"{duration!r} is no duration, such as 500ms, 30s, 5m, 1h, 7d")
    return int(match[1]) * _UNIT_S[match[2]]


def text_of(duration: Duration) -> str:
    """As the API reads it: whole seconds, or milliseconds. Raises RefusedError."""
    milliseconds = round(seconds_of(duration) * 1_000)
    return f"{milliseconds // 1_000}s" if milliseconds % 1_000 == 0 else f"{milliseconds}ms"
