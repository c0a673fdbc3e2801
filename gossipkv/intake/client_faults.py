"""A filter for faults of clients, which are not logged: any client could fill the log."""

from __future__ import annotations

import logging

from aiohttp.http_exceptions import HttpProcessingError


class ClientFaults(logging.Filter):
    """A filter against records that any client can cause. aiohttp logs each malformed request, and each client that
    disconnects during an answer, with a traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log the record."""
        return record.exc_info is None or not isinstance(record.exc_info[1], HttpProcessingError | ConnectionError)
