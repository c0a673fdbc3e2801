"""The data directory of one process.

A process holds an exclusive lock on the directory's `lock` file while it runs, so that two processes never write the
same data. The kernel releases the lock when the process ends, for any reason.

Only the user of the process may read the data. Directories that are created here have mode 0700, and files 0600,
regardless of the umask. Files of earlier versions had 0644, and are changed when they are opened. The mode of an
existing directory stays as it is: it may be a mounted volume, to which a group gives access.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from gossipkv.core.store.storage import StorageError

DATA_FILE = "data.mdb"
"""The file with all data of a store; LMDB creates its other files again when the store is opened."""

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600
_FILES = (DATA_FILE, "lock.mdb", "lock")


def open_private(path: Path, mode: str) -> IO[Any]:
    """Open a file for writing that only the user of the process may read; earlier contents are lost. Raises OSError."""
    assert mode in ("w", "wb")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
    return os.fdopen(descriptor, mode)


class DataDirectory:
    """The locked directory, created if absent. Raises StorageError if it cannot be used, or if another process uses
    it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
            self._descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        except OSError as error:
            raise StorageError(f"the data directory {path} cannot be used: {error.strerror}") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            if isinstance(error, BlockingIOError):
                raise StorageError(f"the data directory {path} is in use by another process") from error
            raise StorageError(f"the data directory {path} cannot be locked: {error.strerror}") from error
        for name in _FILES:
            # The file may be absent, or belong to another user whose group this process is in.
            with suppress(OSError):
                (path / name).chmod(FILE_MODE)

    def free_bytes(self) -> int:
        """Return the number of bytes that the volume has room for. Raises OSError."""
        volume = os.statvfs(self.path)
        return volume.f_bavail * volume.f_frsize

    def close(self) -> None:
        """Release the lock. The directory stays."""
        os.close(self._descriptor)
