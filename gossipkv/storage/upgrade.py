"""Converts data of an older format to the current one, before anything else uses them.

Up to format 3, the fingerprint was computed from dots only; since format 4 it includes the contents of versions
(`core/model/fingerprint.py`). Rows, journal and records have not changed, so only the fingerprint pages are computed
again. One transaction writes the pages and the format number. If the process dies before the commit, the data still
have the old format, and the next start repeats the conversion.
"""

from __future__ import annotations

import structlog

from gossipkv.core.model.address import NAMESPACES
from gossipkv.core.model.fingerprint import FingerprintTable
from gossipkv.core.store.storage import Transaction

ROWS_PER_REPORT = 100_000
"""The progress is logged each time this many rows are done."""

_AFTER_ALL = b"\x7f"
"""A key that is greater than every address: table names are ASCII."""

log = structlog.get_logger(__name__)


def rebuild_fingerprints(transaction: Transaction) -> int:
    """Compute the fingerprint pages from the rows and write them. Returns the number of rows. The caller writes the
    format number and commits."""
    rows = 0
    for shard in NAMESPACES:
        table = FingerprintTable()
        for address, row in transaction.rows(shard, b"", _AFTER_ALL):
            table.replace(address, (), row.versions)
            rows += 1
            if rows % ROWS_PER_REPORT == 0:
                log.info("data_are_upgraded", rows=rows)
        for page, content in table.take_dirty_pages():
            transaction.put_page(shard, page, content)
    return rows
