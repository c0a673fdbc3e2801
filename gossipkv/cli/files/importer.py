"""An import: lines in, batches out, one at a time.

Memory is bounded by one batch. A batch is sent again, to any server that answers, until it is acknowledged or the
retries are used up; it may be sent twice, because puts are repeatable. The state of the import advances only after the
acknowledgement.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from gossipkv.cli.options import row_format
from gossipkv.client import BatchOutcome, UnavailableError

BATCH_LINES_MAX = 5_000
BATCH_BYTES_MAX = 4 * 2**20
VALUE_BYTES_MAX = 4 * 2**20
"""Maximum size of a value that the settings of a member can allow."""
LINE_BYTES_MAX = 6 * VALUE_BYTES_MAX + 64 * 1024
"""Of what is held of a line: the longest value with every byte of it escaped, and its key."""
_RETRY_PAUSE_S = 0.2
_RETRY_PAUSE_S_MAX = 5.0

SendBatch = Callable[[list[bytes]], list[BatchOutcome]]


@dataclass(slots=True)
class _Batch:
    lines: list[bytes] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    """Where in the input each of the lines stands."""
    size_bytes: int = 0

    def add(self, line: bytes, number: int) -> None:
        self.lines.append(line)
        self.numbers.append(number)
        self.size_bytes += len(line)

    @property
    def is_full(self) -> bool:
        return len(self.lines) >= BATCH_LINES_MAX or self.size_bytes >= BATCH_BYTES_MAX


class Importer:
    """Reads `file` from its current position, which is `offset`, after `line` lines. `rejected` is called with the
    number of a bad line and what is wrong with it; `retrying` with a failure and the pause before the next attempt, in
    seconds."""

    def __init__(
        self,
        file: BinaryIO,
        format_name: str,
        send: SendBatch,
        rejected: Callable[[int, str], None],
        retrying: Callable[[UnavailableError, float], None],
        *,
        retries: int = 8,
        offset: int = 0,
        line: int = 0,
        digest: hashlib.blake2b | None = None,
    ) -> None:
        self._file = file
        self._format = format_name
        self._send = send
        self._rejected = rejected
        self._retrying = retrying
        self._retries = retries
        self._digest = digest or hashlib.blake2b(digest_size=16)
        self.offset = offset
        self.line = line
        self.rows = 0
        self.rejections = 0

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()

    def run(self) -> Iterator[None]:
        """Import all; yields after each acknowledged batch, when offset, line and digest are those of what is done.
        Raises ClientError."""
        is_at_end = False
        while not is_at_end:
            batch, offset, line, digest, is_at_end = self._read_batch()
            if batch.lines:
                self._judge(batch, self._acknowledged(batch.lines))
            self.offset, self.line, self._digest = offset, line, digest
            yield

    def _read_batch(self) -> tuple[_Batch, int, int, hashlib.blake2b, bool]:
        batch, offset, line, digest = _Batch(), self.offset, self.line, self._digest.copy()
        while not batch.is_full:
            raw = self._file.readline(LINE_BYTES_MAX)
            if not raw:
                return batch, offset, line, digest, True
            line += 1
            digest.update(raw)
            offset += len(raw)
            held = raw
            while len(raw) == LINE_BYTES_MAX and not raw.endswith(b"\n"):
                raw = self._file.readline(LINE_BYTES_MAX)
                digest.update(raw)
                offset += len(raw)
            if held is not raw:
                held = row_format.without_siblings(held) if self._format == "ndjson" else b""
            if held:
                self._add(batch, held, line)
            else:
                self._reject(line, f"longer than {LINE_BYTES_MAX:,} bytes: no member takes so large a value")
        return batch, offset, line, digest, False

    def _add(self, batch: _Batch, raw: bytes, number: int) -> None:
        content = raw.removesuffix(b"\n").removesuffix(b"\r")
        if not content:
            return
        try:
            row, value = row_format.parse(content, self._format)
        except ValueError as error:
            self._reject(number, str(error))
        else:
            batch.add(row_format.batch_line(row, value), number)

    def _acknowledged(self, lines: list[bytes]) -> list[BatchOutcome]:
        pause_s = _RETRY_PAUSE_S
        for _ in range(self._retries):
            try:
                return self._send(lines)
            except UnavailableError as error:
                self._retrying(error, pause_s)
            # Jitter keeps several imports from retrying at the same time.
            time.sleep(pause_s * random.uniform(0.5, 1.0))
            pause_s = min(pause_s * 2, _RETRY_PAUSE_S_MAX)
        return self._send(lines)

    def _judge(self, batch: _Batch, results: list[BatchOutcome]) -> None:
        for number, result in zip(batch.numbers, results, strict=True):
            if result.error is None:
                self.rows += 1
            else:
                self._reject(number, str(result.error))

    def _reject(self, number: int, reason: str) -> None:
        self.rejections += 1
        self._rejected(number, reason)
