"""The data directory of one process.

A process holds an exclusive lock on the directory's `lock` file while it runs, so that two processes never write the
same data. The kernel releases the lock when the process ends, for any reason.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from gossipkv.core.storage import StorageError

DATA_FILE = "data.mdb"
"""The file with all data of a store; LMDB creates its other files again when the store is opened."""


class DataDirectory:
    """The directory, created if absent. Raises StorageError if it cannot be used, or another process uses it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StorageError(f"the data directory {path} cannot be used: {error.strerror}") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            if isinstance(error, BlockingIOError):
                raise StorageError(f"the data directory {path} is in use by another process") from error
            raise StorageError(f"the data directory {path} cannot be locked: {error.strerror}") from error

    def free_bytes(self) -> int:
        """What the volume still has room for."""
        volume = os.statvfs(self.path)
        return volume.f_bavail * volume.f_frsize

    def close(self) -> None:
        os.close(self._descriptor)
