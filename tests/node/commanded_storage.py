"""A storage in memory whose commits and reloads wait for a command of the test."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from gossipkv.core.row import Row
from gossipkv.storage.memory import MemoryStorage, MemoryView

GATE_SECONDS = 30.0
STORAGE_THREAD = "gossipkv-storage"


class Gate:
    """Open at first. While it is shut, the storage thread waits in front of it."""

    def __init__(self) -> None:
        self._is_open = threading.Event()
        self._is_open.set()
        self.reached = threading.Event()
        """Set once the storage thread has come to the shut gate."""

    def shut(self) -> None:
        self.reached.clear()
        self._is_open.clear()

    def open(self) -> None:
        self._is_open.set()

    def pass_through(self) -> None:
        if not self._is_open.is_set():
            self.reached.set()
            self._is_open.wait(GATE_SECONDS)


class _CommandedView(MemoryView):
    __slots__ = ()

    def rows(self, shard: str, start: bytes, end: bytes, *, reverse: bool = False) -> Iterator[tuple[bytes, Row]]:
        if threading.current_thread().name == STORAGE_THREAD and isinstance(self._storage, CommandedStorage):
            self._storage.reload.pass_through()
        return super().rows(shard, start, end, reverse=reverse)


class CommandedStorage(MemoryStorage):
    def __init__(self) -> None:
        super().__init__()
        self.commit = Gate()
        """In front of each commit that changes something."""
        self.reload = Gate()
        """In front of each scan of rows by which the storage thread returns to what is committed."""

    def view(self) -> MemoryView:
        with self.lock:
            view = _CommandedView(self, self.revision)
            self._views.append(view)
        return view

    def apply(self, differences: dict[Any, dict[Any, Any]]) -> None:
        self.commit.pass_through()
        super().apply(differences)
