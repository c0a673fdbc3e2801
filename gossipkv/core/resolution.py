"""The end of a wait, as the effects of a batch tell it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from gossipkv.core.quorum import Found
    from gossipkv.core.receipts import Coverage, Reach


class Resolved(NamedTuple):
    ticket: int
    outcome: Coverage | Reach | Found
    is_cut: bool = False
    """The member leaves or sets its data aside, so it waits no longer: the outcome is how the wait stood."""
