"""Parses Server-Sent Events line by line as they arrive.

Source: WHATWG HTML Living Standard, section 9.2.6, "Interpreting an event stream". Lines end in LF or CRLF.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Event:
    name: str
    """The name; empty for an event that only advances the id, like some heartbeats."""
    data: str
    event_id: str | None
    """The last one given on this stream; None before the first."""


@dataclass(slots=True)
class EventParser:
    _name: str = ""
    _data: list[str] = field(default_factory=list)
    _id: str | None = None
    _has_id: bool = False

    def take(self, line: bytes) -> Event | None:
        """The event that this line completes."""
        text = line.decode(errors="replace").rstrip("\r\n")
        if not text:
            return self._dispatched()
        name, _, value = text.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                self._name = value
            case "data":
                self._data.append(value)
            case "id" if "\0" not in value:
                self._id, self._has_id = value, True
            case _:
                pass  # A comment, such as a heartbeat, or a field that is not known.
        return None

    def _dispatched(self) -> Event | None:
        """An `overflow` or `end` may come without data."""
        name, data, has_id = self._name or ("message" if self._data else ""), self._data, self._has_id
        self._name, self._data, self._has_id = "", [], False
        return Event(name, "\n".join(data), self._id) if name or has_id else None
