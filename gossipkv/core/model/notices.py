"""Notices of conclusions that hold although the batch in which they were drawn fails.

A batch that is not committed has not happened: what it says of its own rows is taken back with it. What was concluded
from what was heard, or not heard, of others is not. Counterexample: an exchange with a peer fails in a batch that finds
no room. The peer counts as failing from then on, and only the first failure is logged; were its notice dropped with the
batch, the log would never say that the peer is not reached.
"""

from __future__ import annotations

from collections.abc import Iterable

from gossipkv.core.model.tally import Notice


class LastingNotices:
    """The lasting notices of one part of a replica."""

    def __init__(self) -> None:
        self._waiting: list[Notice] = []
        self._taken: list[Notice] = []
        """By the batch under way."""

    def add(self, notices: Iterable[Notice]) -> None:
        self._waiting += notices

    def take(self) -> list[Notice]:
        """Take the notices for the batch under way."""
        self._taken, self._waiting = self._waiting, []
        return self._taken

    def note_told(self) -> None:
        """Those that were taken have been logged."""
        self._taken = []

    def forget_batch(self) -> None:
        """Those that were taken have not been logged."""
        self._waiting, self._taken = self._taken + self._waiting, []
