"""The watches of one run of a member: a tail that advances by the changes of each batch."""

from __future__ import annotations

from collections.abc import Callable

from gossipkv.core.model.address import USER
from gossipkv.core.store.changes import Changes
from gossipkv.core.store.storage import UnreadableRowError
from gossipkv.core.watch.watch_position import WatchPosition
from gossipkv.core.watch.watching import BeginAnewError, Tail, Told
from gossipkv.simulation.disk import Disk

Follow = Callable[[WatchPosition | None, list[Told] | None], None]
"""Called with the tail's previous position and the rows to send; None instead of rows if they must be read from the
journal, None instead of the position if watchers must start over."""


class Feed:
    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.followers: list[Follow] = []
        with disk.view() as view:
            self.tail = Tail(view, USER)

    def publish(self, batch: list[Changes]) -> None:
        for changes in batch:
            if changes.shard == USER:
                self._take(changes)

    def _take(self, changes: Changes) -> None:
        before: WatchPosition | None = self.tail.position
        told = None
        try:
            told = self.tail.take(changes)
        except BeginAnewError:
            before = None
        self._tell(before, told)
        if self.tail.is_recovery_due:
            before = self.tail.position
            try:
                with self._disk.view() as view:
                    self.tail.recover(view)
            except UnreadableRowError:
                return
            self._tell(before, None)

    def _tell(self, before: WatchPosition | None, told: list[Told] | None) -> None:
        for follow in self.followers:
            follow(before, told)
