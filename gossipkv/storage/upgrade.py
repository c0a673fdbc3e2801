"""Brings data of an older format to the present one, before anything else is done with them.

Up to format 3 the fingerprint knew a version by its dot alone; since format 4 it holds all that the version holds
(`core/fingerprint.py`). Rows, journal and records are as they were, so the fingerprint pages alone are made again. They
and the number of the format are written in one transaction: if the process dies before its end, the data are of the
old format, and the next start does it again.
"""

from __future__ import annotations

import structlog

from gossipkv.core.address import NAMESPACES
from gossipkv.core.fingerprint import FingerprintTable
from gossipkv.core.storage import Transaction

ROWS_PER_REPORT = 100_000
"""The log tells how far the work has come after each so many rows."""

_AFTER_ALL = b"\x7f"
"""After every address: table names are ASCII."""

log = structlog.get_logger(__name__)


def rebuild_fingerprints(transaction: Transaction) -> int:
    """Write the fingerprint pages that the rows give; returns the number of rows. The caller writes the number of the
    format and commits."""
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
