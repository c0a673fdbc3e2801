"""The watches of one run of a member: tails, moved on by what each batch has changed."""

from __future__ import annotations

from collections.abc import Callable

from gossipkv.core.address import USER
from gossipkv.core.causality import Context
from gossipkv.core.watching import Changes, ContextWentBackError, Tail, Told
from gossipkv.simulation.disk import Disk

Follow = Callable[[Context, list[Told] | None], None]
"""Given where the tail was, and what to tell, or None where that is to be read."""


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
        before = self.tail.context
        try:
            told = self.tail.take(changes)
        except ContextWentBackError:
            with self._disk.view() as view:
                self.tail = Tail(view, USER)
            told = None
        if not self.tail.is_complete:
            with self._disk.view() as view:
                self.tail.recover(view)
        for follow in self.followers:
            follow(before, told)
