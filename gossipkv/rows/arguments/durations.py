"""Durations: text such as `500ms`, `30s`, `5m`, `1h`, `7d`; in programs also seconds, or a timedelta.

There are two kinds: a life, as of a row, from a millisecond to a century; and a wait, from nothing to an hour.
"""

from __future__ import annotations

import re
from datetime import timedelta

from gossipkv.rows.arguments.invalid import InvalidInputError, shown
from gossipkv.rows.arguments.limits import LIFE_MS_MAX, WAIT_MS_MAX

Duration = float | timedelta | str

PATTERN = "([0-9]{1,12})(ms|s|m|h|d)"

_TEXT = re.compile(PATTERN)
_UNIT_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_FORMS = "such as 500ms, 30s, 5m, 1h, 7d"


def life_ms_of(name: str, duration: object) -> int:
    """The milliseconds of a life. Raises InvalidInputError."""
    duration_ms = _milliseconds(duration)
    if duration_ms is None or not 1 <= duration_ms <= LIFE_MS_MAX:
        raise InvalidInputError(
            name, f"is a time {_FORMS}, from 1 millisecond to {LIFE_MS_MAX // 86_400_000} days, not {shown(duration)}"
        )
    return duration_ms


def wait_ms_of(name: str, duration: object) -> int:
    """The milliseconds of a wait. Raises InvalidInputError."""
    duration_ms = _milliseconds(duration)
    if duration_ms is None or not 0 <= duration_ms <= WAIT_MS_MAX:
        raise InvalidInputError(name, f"is a time {_FORMS}, at most an hour, not {shown(duration)}")
    return duration_ms


def duration_text(duration_ms: int) -> str:
    """Whole seconds, or milliseconds, as text."""
    return f"{duration_ms // 1_000}s" if duration_ms % 1_000 == 0 else f"{duration_ms}ms"


def _milliseconds(duration: object) -> int | None:
    """None for what is no duration."""
    if isinstance(duration, str):
        match = _TEXT.fullmatch(duration)
        return int(match[1]) * _UNIT_MS[match[2]] if match else None
    if isinstance(duration, timedelta):
        return round(duration / timedelta(milliseconds=1))
    if isinstance(duration, bool) or not isinstance(duration, int | float):
        return None
    # What is no number compares false; infinite and huge ones are not rounded.
    return round(duration * 1_000) if 0 <= duration <= LIFE_MS_MAX else None
