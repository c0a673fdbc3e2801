"""A storage in memory whose commits and reloads wait for a command of the test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from gossipkv.core.model.address import USER
from gossipkv.core.model.row import StoredRow
from gossipkv.storage.memory import MemoryStorage, MemoryTransaction, MemoryView

GATE_SECONDS = 30.0
STORAGE_THREAD = "gossipkv-storage"


class Gate:
    """Open at first. While it is shut, the storage thread waits in front of it."""

    def __init__(self) -> None:
        self._is_open = threading.Event()
        self._is_open.set()
        self._is_due: Callable[[], bool] = lambda: True
        self.reached = threading.Event()
        """Set once the storage thread has come to the shut gate."""

    def shut(self, when: Callable[[], bool] = lambda: True) -> None:
        """Let the storage thread wait here if this holds when it comes."""
        self.reached.clear()
        self._is_due = when
        self._is_open.clear()

    def open(self) -> None:
        self._is_open.set()

    def pass_through(self) -> None:
        if not self._is_open.is_set() and self._is_due():
            self.reached.set()
            self._is_open.wait(GATE_SECONDS)


class _CommandedView(MemoryView):
    __slots__ = ()

    def rows(self, shard: str, start: bytes, end: bytes, *, reverse: bool = False) -> Iterator[tuple[bytes, StoredRow]]:
        if threading.current_thread().name == STORAGE_THREAD and isinstance(self._storage, CommandedStorage):
            self._storage.reload.pass_through()
        return super().rows(shard, start, end, reverse=reverse)


class _CommandedTransaction(MemoryTransaction):
    __slots__ = ()

    def commit(self) -> None:
        if isinstance(self._storage, CommandedStorage):
            self._storage.commit.pass_through()
        super().commit()


class CommandedStorage(MemoryStorage):
    def __init__(self) -> None:
        super().__init__()
        self.commit = Gate()
        """In front of each commit."""
        self.reload = Gate()
        """In front of each scan of rows by which the storage thread returns to what is committed."""

        self.closed = 0

    def close(self) -> None:
        self.closed += 1
        super().close()

    def view(self) -> MemoryView:
        with self.lock:
            view = _CommandedView(self, self.revision)
            self._views.append(view)
        return view

    def begin(self) -> MemoryTransaction:
        super().begin()
        self._transaction = _CommandedTransaction(self, self.revision + 1)
        return self._transaction

    def is_writing(self, address: bytes) -> bool:
        """Whether the open transaction holds this row of the users."""
        return self._transaction is not None and self._transaction.row(USER, address) is not None
