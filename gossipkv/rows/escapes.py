"""How text that others have written is shown to people.

Names, keys, values and messages come from peers, rows and servers. A control character in them would move the cursor of
a terminal, set its title, or forge a line of a table; a bidirectional control character would show it in another order.
"""

from __future__ import annotations

import re

_CONTROLS = r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
"""C0, delete and C1; the bidirectional controls; the separators of lines and paragraphs; halves of surrogate pairs,
which UTF-8 cannot write."""

_CONTROL = re.compile(f"[{_CONTROLS}]")
_CONTROL_IN_TEXT = re.compile(rf"(?!\r?\n|\t)[{_CONTROLS}]")
_SHORT = {"\t": r"\t", "\n": r"\n", "\r": r"\r"}


def escaped(text: str) -> str:
    """The text on one line, with escapes for its control characters."""
    return text if text.isascii() and text.isprintable() else _CONTROL.sub(_escape, text)


def escaped_text(text: str) -> str:
    """The text with its lines and tabs, and escapes for all other control characters."""
    return _CONTROL_IN_TEXT.sub(_escape, text)


def escaped_json(text: str) -> str:
    """JSON, which means the same: its control characters stand in strings, but for line ends between its tokens."""
    return _CONTROL_IN_TEXT.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
