"""What a frame may hold, and the error for one that holds anything else."""

from __future__ import annotations

from dataclasses import dataclass

from gossipkv.core.envelope_room import FRAME_BYTES_MAX
from gossipkv.core.parcel import CARRIED_ROW_BYTES_MAX, VALUE_BYTES_MAX

PROTOCOL_VERSION = 4

PROTOCOL = "protocol"
TOO_LARGE = "too_large"
MALFORMED = "malformed"
"""Why a frame was refused."""


class DecodeError(ValueError):
    """A peer's frame breaks the protocol."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        """`protocol`, `too_large` or `malformed`: it labels a metric."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a frame may hold: constants of the protocol, the same at all members whatever their settings. What a member
    takes from its own clients is no business of its peers."""

    value_bytes_max: int = VALUE_BYTES_MAX
    row_bytes_max: int = CARRIED_ROW_BYTES_MAX
    """The values of a large row, of which frames hold the outline and fragments."""
    frame_bytes_max: int = FRAME_BYTES_MAX
    messages_max: int = 256
    context_entries_max: int = 16_384
    """Of a message. A row's context has as many entries as the frame has room for."""
