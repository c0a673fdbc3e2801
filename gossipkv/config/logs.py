"""Logging: one line per event, to standard error, for people or for machines.

Lines of the standard library's logging, such as aiohttp's, are formatted the same way. Times are UTC in ISO 8601.
"""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import structlog
from structlog.typing import Processor


def configure(log_format: str, log_level: str, stream: TextIO | None = None) -> None:
    """Log to `stream`, by default standard error. `log_format` is json, console, or auto (console if the stream is a
    terminal). `log_level` is the minimum severity to log, in lower case."""
    stream = stream or sys.stderr
    is_terminal = stream.isatty()
    level = getattr(logging, log_level.upper())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Local variables stay out of tracebacks: they hold users' values.
    renderers: list[Processor]
    if log_format == "console" or (log_format == "auto" and is_terminal):
        renderers = [
            structlog.dev.ConsoleRenderer(colors=is_terminal, exception_formatter=structlog.dev.plain_traceback)
        ]
    else:
        tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        renderers = [structlog.processors.ExceptionRenderer(tracebacks), structlog.processors.JSONRenderer()]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def hand_to_logging() -> None:
    """Log through the standard library's logging, whose configuration decides levels, formats and destinations. A
    member inside another program uses this. Fields become `key=value` in the message. If the program has configured no
    logging, nothing is logged, as is usual for a library."""
    logging.getLogger("gossipkv").addHandler(logging.NullHandler())
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.processors.KeyValueRenderer(key_order=["event"], sort_keys=True),
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
