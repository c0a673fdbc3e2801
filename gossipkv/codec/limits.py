"""The limits of frames, and the error for a frame that breaks the protocol."""

from __future__ import annotations

from dataclasses import dataclass

from gossipkv.core.protocol.envelope_room import FRAME_BYTES_MAX
from gossipkv.core.protocol.parcel import CARRIED_ROW_BYTES_MAX, VALUE_BYTES_MAX

PROTOCOL_VERSION = 4

PROTOCOL = "protocol"
TOO_LARGE = "too_large"
MALFORMED = "malformed"
"""The reasons for refusing a frame."""


class DecodeError(ValueError):
    """The error for a peer's frame that breaks the protocol."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        """The label in a metric: `protocol`, `too_large` or `malformed`."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a frame: constants of the protocol, the same at all members. They are independent of the limits
    that a member sets for its own clients."""

    value_bytes_max: int = VALUE_BYTES_MAX
    row_bytes_max: int = CARRIED_ROW_BYTES_MAX
    """The maximum size of a large row with its values. A frame holds only its outline, or a fragment of a value."""
    frame_bytes_max: int = FRAME_BYTES_MAX
    messages_max: int = 256
    context_entries_max: int = 16_384
    """The maximum number of entries of a context in a message. Only the frame bounds a row's context."""
