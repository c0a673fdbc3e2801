"""The refusals of a simulated member, which has no event loop to log their end on."""

from __future__ import annotations

from gossipkv.intake.bound import Refusals


class UnloggedRefusals(Refusals):
    def __init__(self) -> None:
        super().__init__("", "")

    def count(self, **_: object) -> None:
        self.total += 1
