"""The notices that a replica leaves for the log, until they have been logged.

A batch that is not committed has not happened: a notice of what it did to rows is dropped with it. A *lasting* notice
is of a conclusion about others, drawn from what was heard of them or not heard. It holds although the batch fails.
Counterexample: an exchange with a peer fails in a batch that finds no room. The peer counts as failing from then on,
and only its first failure is logged. If the notice were dropped with the batch, the log would never say that the peer
is not reached.
"""

from __future__ import annotations

from gossipkv.core.model.tally import Notice


class Outbox:
    """The notices of one replica; all of its parts write to it."""

    def __init__(self) -> None:
        self._of_batch: list[Notice] = []
        self._lasting: list[Notice] = []
        self._taken: list[Notice] = []
        """The lasting notices that the batch under way has taken."""

    def say(self, *notices: Notice) -> None:
        """Log these if the batch is committed."""
        self._of_batch += notices

    def say_lasting(self, *notices: Notice) -> None:
        """Log these whatever becomes of the batch."""
        self._lasting += notices

    def take(self) -> list[Notice]:
        """Return all notices, for the effects of the batch under way."""
        of_batch, self._of_batch = self._of_batch, []
        return of_batch + self.take_lasting()

    def take_lasting(self) -> list[Notice]:
        """Return the lasting notices alone. `note_told` or `forget_batch` must follow."""
        self._taken, self._lasting = self._lasting, []
        return self._taken

    def note_told(self) -> None:
        """The notices that were taken have been logged."""
        self._taken = []

    def forget_batch(self) -> None:
        """The batch was not committed: lasting notices that it took wait for the next one."""
        self._of_batch = []
        self._lasting, self._taken = self._taken + self._lasting, []
