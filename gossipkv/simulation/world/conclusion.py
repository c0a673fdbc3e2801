"""What waits for an outcome in the simulation: a function that is called with it at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Conclude = Callable[[Any], None]


class Conclusion:
    """A waiter that passes its outcome on."""

    def __init__(self, conclude: Conclude) -> None:
        self._conclude: Conclude | None = conclude

    def done(self) -> bool:
        return self._conclude is None

    def set_result(self, result: Any, /) -> None:
        conclude, self._conclude = self._conclude, None
        assert conclude is not None, "an outcome is passed on once"
        conclude(result)
