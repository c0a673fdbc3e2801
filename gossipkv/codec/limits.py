"""What a frame may hold, and the error for one that holds anything else."""

from __future__ import annotations

from dataclasses import dataclass

PROTOCOL_VERSION = 4

PROTOCOL = "protocol"
TOO_LARGE = "too_large"
MALFORMED = "malformed"
"""Why a frame was refused."""

_MEBIBYTE = 1024 * 1024


class DecodeError(ValueError):
    """A peer's frame breaks the protocol."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        """`protocol`, `too_large` or `malformed`: it labels a metric."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a frame may hold."""

    value_bytes_max: int = _MEBIBYTE
    frame_bytes_max: int = 2 * _MEBIBYTE
    messages_max: int = 256
    context_entries_max: int = 16_384

    def __post_init__(self) -> None:
        assert self.value_bytes_max < self.frame_bytes_max, "the largest value would fit into no frame"

    @classmethod
    def for_values(cls, value_bytes_max: int) -> Limits:
        """Limits under which a frame has room for the largest value and as much again."""
        return cls(value_bytes_max, max(2 * _MEBIBYTE, 2 * value_bytes_max))
