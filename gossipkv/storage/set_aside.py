"""Set-aside data: kept on the volume, but no longer used by a member.

If the cluster was told to forget a member's replica, the member's data are outdated, and it starts again without them.
The data stay on its volume for inspection. The program never removes them:

    DIRECTORY/data.mdb                                        the data in use
    DIRECTORY/set-aside/20260102T030405Z-9258018b7fc8043c/    each set of outdated data: the time, the replica
        account.json    why, and what other members were known to have (`storage/account.py`)
        data.mdb        the data
        rows.ndjson     the rows that no other member was known to have (`unshared_rows.py`), made of the two

One rename moves the data. So at any time they are either set aside, or still in their old place; then the next
start finds again that they are outdated. The directory is locked during the move. Set-aside data are never overwritten.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from gossipkv.core.model.causality import ReplicaId
from gossipkv.core.store.storage import StorageError
from gossipkv.storage.account import Account
from gossipkv.storage.directory import DATA_FILE, DIRECTORY_MODE, DataDirectory

SET_ASIDE = "set-aside"


def set_aside(data_dir: Path, account: Account) -> Path:
    """Move the data of a closed store aside. Returns their new directory, which `gossipkv export --data-dir` reads.
    Raises StorageError; the data may then still be where they were."""
    directory = DataDirectory(data_dir)
    try:
        target = _new_directory(data_dir / SET_ASIDE, account.replica, account.set_aside_ms)
        account.write(target)
        # The new directory must be durable before the data are moved into it.
        _sync(data_dir / SET_ASIDE)
        _sync(data_dir)
        (data_dir / DATA_FILE).rename(target / DATA_FILE)
        _sync(target)
        _sync(data_dir)
    except OSError as error:
        raise StorageError(f"the data in {data_dir} cannot be set aside: {error.strerror}") from error
    finally:
        directory.close()
    return target


def all_set_aside(data_dir: Path) -> list[Path]:
    """Return the directories of all sets of data that were set aside in a data directory and still exist, oldest
    first."""
    return sorted(data.parent for data in (data_dir / SET_ASIDE).glob(f"*/{DATA_FILE}"))


def _new_directory(parent: Path, replica: ReplicaId, now_ms: int) -> Path:
    """Create a directory named for the time and the replica. A number is appended if that name is taken: by another set
    of the same second, or because the clock was set back."""
    parent.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
    name = f"{datetime.fromtimestamp(now_ms // 1000, UTC):%Y%m%dT%H%M%SZ}-{replica:016x}"
    number = 1
    while True:
        target = parent / (name if number == 1 else f"{name}-{number}")
        try:
            target.mkdir(mode=DIRECTORY_MODE)
        except FileExistsError:
            number += 1
        else:
            return target


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
