"""The progress of an import, in a small file next to its input.

It is replaced as a whole after each batch that the store has acknowledged. The digest covers the input up to the
offset, so that an import never continues in the middle of a file that has been replaced.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from gossipkv.cli.terminal.failure import Failure

_READ_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class ImportState:
    table: str
    offset: int
    """Bytes of the input that are done."""
    line: int
    """Number of processed lines."""
    digest: str
    rows: int
    """Number of stored rows."""
    rejected: int

    def save(self, path: Path) -> None:
        temporary = path.with_name(path.name + ".new")
        try:
            temporary.write_text(json.dumps(asdict(self)) + "\n")
            temporary.replace(path)
        except OSError as error:
            raise Failure(
                f"the state of the import cannot be kept in {path}: {error.strerror}; name another file with --state"
            ) from error


def check(path: Path) -> None:
    """Raises Failure where the state would take the place of something that is not a file."""
    if path.exists() and not path.is_file():
        raise Failure(
            f"the state of the import cannot be kept in {path}, which is not a file; name another with --state"
        )


def load(path: Path) -> ImportState | None:
    try:
        return ImportState(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise Failure(f"{path} is no state of an import ({error}); remove it, or start over with --restart") from error


def digest_of(file: BinaryIO, length: int) -> hashlib.blake2b:
    """The running digest of the next `length` bytes, or of as many as there are."""
    digest = hashlib.blake2b(digest_size=16)
    while length and (chunk := file.read(min(length, _READ_BYTES))):
        digest.update(chunk)
        length -= len(chunk)
    return digest
