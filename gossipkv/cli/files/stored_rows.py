"""Rows in a data directory that no process uses."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gossipkv.cli.terminal.exit_code import ExitCode
from gossipkv.cli.terminal.failure import Failure
from gossipkv.cli.terminal.output import echo
from gossipkv.client import Row
from gossipkv.core.model.address import NAMESPACES, address_of
from gossipkv.core.store.quarantine import shown
from gossipkv.core.store.storage import StorageError
from gossipkv.rows.arguments.invalid import InvalidInputError
from gossipkv.rows.arguments.names import table_name
from gossipkv.rows.view.key_range import key_range
from gossipkv.rows.view.local_rows import local_pages
from gossipkv.storage.lmdb import LmdbStorage


@contextmanager
def stored_rows(data_dir: Path, namespace: str, table: str) -> Iterator[Iterator[list[Row]]]:
    """All rows of a table in order of their keys, some thousand at a time, as a reader finds them now. The directory
    must be writable, for it is locked meanwhile. Raises Failure."""
    assert namespace in NAMESPACES
    try:
        table_name(table)
    except InvalidInputError as error:
        raise Failure(str(error), ExitCode.USAGE) from error
    try:
        storage = LmdbStorage(data_dir, must_exist=True)
        try:
            now_ms = time.time_ns() // 1_000_000
            yield local_pages(storage.view, namespace, key_range(table), lambda: now_ms)
            _name_unreadable(storage, namespace, table)
        finally:
            storage.close()
    except StorageError as error:
        raise Failure(str(error), ExitCode.DATA_DIRECTORY) from error


def _name_unreadable(storage: LmdbStorage, namespace: str, table: str) -> None:
    """Report the rows that are left out."""
    prefix = address_of(table, b"")
    found = {address: why for (of, address), why in storage.unreadable.items() if of == namespace}
    with storage.view() as view:
        found |= {address: held.reason for address, held in view.quarantined(namespace, prefix, prefix[:-1] + b"\1")}
    for address, reason in sorted(found.items()):
        row = shown(namespace, address, reason)
        echo(f"the row {row.row!r} cannot be read and is left out: {reason}", err=True)
