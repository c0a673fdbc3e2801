"""Limits and deadlines of the API; every number with its unit."""

from __future__ import annotations

from dataclasses import dataclass

from gossipkv.rows.limits import ROW_KEY_BYTES_MAX, VALUE_BYTES_MAX_DEFAULT

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
    """Of encoded rows in one page; a page holds one row however large."""
    page_examined_bytes_max: int = 32 * 1024 * 1024
    """Of values that one page reads, shown or not: keys alone are read with their values. A page that reaches this
    bound or the next one is shorter than asked, perhaps empty, and has a cursor."""
    page_examined_rows_max: int = 5_000
    """Rows, deleted ones included, that one page looks at: what the event loop does at a time."""
    batch_group_rows_max: int = 2_000
    """Lines of a batch that are written in one transaction."""
    batch_groups_in_flight: int = 2
    """The next group is parsed while the one before commits."""
    delete_page_rows: int = 1_000
    """Rows of a deleted table that are deleted in one transaction."""
    body_timeout_seconds: float = 30.0
    """For a whole body; in a batch, for the next bytes of it, and for the client to take results off."""
    keepalive_timeout_seconds: float = 75.0
    """Until an idle connection is closed, and one whose request headers have not all come."""
    shutdown_timeout_seconds: float = 2.0
    """For requests under way when the server stops. A body that has not come by then is cut off."""
    retry_after_seconds: int = 1
    """What a client is told to wait where the answer is 503."""

    @property
    def batch_line_bytes_max(self) -> int:
        """Of a line without `siblings`: room for the largest value and the largest key with every byte escaped, a
        context, an etag and the names. So the line of a listing or an export of one value is always taken."""
        return (self.value_bytes_max + ROW_KEY_BYTES_MAX) * JSON_BYTES_PER_BYTE_MAX + _LINE_REST_BYTES_MAX
