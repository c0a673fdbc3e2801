"""Limits and deadlines of the API; every number with its unit."""

from __future__ import annotations

from dataclasses import dataclass

from gossipkv.core.address import ROW_KEY_BYTES_MAX


@dataclass(frozen=True, slots=True)
class ApiOptions:
    value_bytes_max: int = 1024 * 1024
    """A larger value is refused with 413."""
    settings_bytes_max: int = 64 * 1024
    """The body of a table's settings."""
    page_rows_max: int = 1_000
    page_rows_default: int = 100
    page_bytes_max: int = 4 * 1024 * 1024
    """Of encoded rows in one page; a page holds one row however large."""
    page_examined_rows_max: int = 5_000
    """Rows, deleted ones included, that one page looks at: what the event loop does at a time. A page that ends for
    this is shorter than asked, perhaps empty, and has a cursor."""
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
    shutdown_timeout_seconds: float = 10.0
    """For requests under way when the server stops."""
    retry_after_seconds: int = 1
    """What a client is told to wait where the answer is 503."""

    @property
    def batch_line_bytes_max(self) -> int:
        """Room for the largest value in base64, the largest key with every byte escaped, an etag and the names."""
        return self.value_bytes_max * 4 // 3 + ROW_KEY_BYTES_MAX * 6 + 2 * 1024
