"""Medians, percentiles and ratios, and how figures are written."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence


def median(values: Sequence[float]) -> float:
    """Of one value at least."""
    assert values, "nothing was measured"
    return statistics.median(values)


def percentile(values: Sequence[float], share: float) -> float:
    """The least value that is not exceeded by a share (0 to 1) of all: the nearest rank, never a value between two."""
    assert values, "nothing was measured"
    assert 0 < share <= 1, share
    return sorted(values)[math.ceil(share * len(values)) - 1]


def median_ratio(sources: Sequence[float], targets: Sequence[float]) -> float:
    """The median of the ratios of each round: what slows a whole round down, such as the disk, cancels out."""
    return median([source / target for source, target in zip(sources, targets, strict=True)])


def per_second(rate: float) -> str:
    return f"{rate:,.0f} /s"


def milliseconds(duration_ms: float) -> str:
    return f"{duration_ms:,.2f} ms"


def seconds(duration_s: float) -> str:
    return f"{duration_s:,.2f} s"


def byte_count(count: float) -> str:
    return f"{count:,.0f} bytes"


def mebibytes(count: float) -> str:
    return f"{count / 2**20:,.0f} MiB"


def times(ratio: float) -> str:
    return f"{ratio:.2f}"
