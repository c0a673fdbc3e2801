"""What is being done, on a line that the next one replaces, where someone watches."""

from __future__ import annotations

import sys

WIDTH = 110


class Progress:
    def __init__(self) -> None:
        self._is_watched = sys.stderr.isatty()

    def say(self, text: str) -> None:
        """Show this until the next line comes."""
        if self._is_watched:
            sys.stderr.write(f"\r{text[:WIDTH]:{WIDTH}}")
            sys.stderr.flush()

    def keep(self, text: str) -> None:
        """Print a line that stays."""
        if self._is_watched:
            sys.stderr.write(f"\r{'':{WIDTH}}\r")
            sys.stderr.flush()
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
