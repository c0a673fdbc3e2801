"""Limits and deadlines of the API; every number with its unit."""

from __future__ import annotations

from dataclasses import dataclass, field

from gossipkv.intake.limits import PortLimits
from gossipkv.rows.arguments.limits import ROW_KEY_BYTES_MAX, VALUE_BYTES_MAX_DEFAULT

JSON_BYTES_PER_BYTE_MAX = 6
"""A character of one byte may be written as an escape such as `\\u0000`; no other form is longer for its bytes."""
_LINE_REST_BYTES_MAX = 32 * 1024
"""Of a line of a batch, besides row and value: the context, which is the longest, is bounded as a header is."""


@dataclass(frozen=True, slots=True)
class ApiOptions:
    value_bytes_max: int = VALUE_BYTES_MAX_DEFAULT
    """A larger value is refused with 413."""
    settings_bytes_max: int = 64 * 1024
    """The body of a table's settings."""
    page_rows_max: int = 1_000
    page_rows_default: int = 100
    page_bytes_max: int = 4 * 1024 * 1024
    """Maximum size of the encoded rows in one page; a page holds at least one row, however large."""
    page_examined_bytes_max: int = 32 * 1024 * 1024
    """Of values that one page reads, shown or not: keys alone are read with their values. A page that reaches this
    bound or the next one is shorter than asked, perhaps empty, and has a cursor."""
    page_examined_rows_max: int = 5_000
    """Maximum number of rows, including deleted ones, examined for one page: the event loop does this in one go."""
    batch_group_rows_max: int = 2_000
    """Maximum number of lines of a batch written in one transaction."""
    batch_groups_in_flight: int = 8
    """The next groups are parsed while those before commit, and those that wait are committed together. A full group
    counts as half of them; most hold the lines of one read, and count as one."""
    delete_page_rows: int = 1_000
    """Maximum number of rows of a deleted table deleted in one transaction."""
    body_timeout_seconds: float = 30.0
    """The time for a whole body; in a batch, for its next bytes, and for the client to read results."""
    port: PortLimits = field(default_factory=PortLimits)
    """Bounds and deadlines of connections, and bounds on what all requests hold together."""
    shutdown_timeout_seconds: float = 2.0
    """The time for requests under way when the server stops. A body that is still incomplete is cut off."""
    retry_after_seconds: int = 1
    """The `Retry-After` of answers with status 503."""

    @property
    def batch_line_bytes_max(self) -> int:
        """Of a line without `siblings`: room for the largest value and the largest key with every byte escaped, a
        context, an etag and the names. So the line of a listing or an export of one value is always taken."""
        return (self.value_bytes_max + ROW_KEY_BYTES_MAX) * JSON_BYTES_PER_BYTE_MAX + _LINE_REST_BYTES_MAX
