"""The events of one watch: one JSON object per line, for as long as the server keeps the response open."""

from __future__ import annotations

import json
from typing import Any

import aiohttp

LINE_BYTES_MAX = 4 * 1024 * 1024
"""The maximum length of a line. An object in Kubernetes is at most 1.5 MiB long."""


class BrokenWatchError(Exception):
    """The error of a watch that broke; events may have been missed."""


class WatchStream:
    """The reader of one watch's events."""

    def __init__(self, response: aiohttp.ClientResponse, line_bytes_max: int = LINE_BYTES_MAX) -> None:
        self._response = response
        self._line_bytes_max = line_bytes_max
        self._received = bytearray()

    async def event(self) -> dict[str, Any] | None:
        """Return the next event; None if the server has ended the watch. Raises BrokenWatchError."""
        line = await self._line()
        if line is None:
            return None
        try:
            event = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise BrokenWatchError("the watch of EndpointSlices brings lines that are not JSON") from error
        if not isinstance(event, dict) or not isinstance(event.get("object"), dict):
            raise BrokenWatchError("the watch of EndpointSlices brings lines that are not events")
        return event

    async def _line(self) -> bytes | None:
        searched = 0
        while (end := self._received.find(b"\n", searched)) < 0:
            searched = len(self._received)
            if searched > self._line_bytes_max:
                raise BrokenWatchError(
                    f"the watch of EndpointSlices brings a line of over {self._line_bytes_max} bytes"
                )
            chunk = await self._chunk()
            if not chunk:
                if self._received.strip():
                    raise BrokenWatchError("the watch of EndpointSlices ended within a line")
                return None
            self._received += chunk
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        return line

    async def _chunk(self) -> bytes:
        try:
            return await self._response.content.readany()
        except TimeoutError as error:
            raise BrokenWatchError("the watch of EndpointSlices did not end when it was due to") from error
        except (aiohttp.ClientError, OSError) as error:
            raise BrokenWatchError(f"the watch of EndpointSlices broke off: {type(error).__name__}") from error

    def close(self) -> None:
        """Close the response; the connection is not used again."""
        self._response.close()
