r"""Rows as lines of a file.

NDJSON: `{"row": "…", "value": "…"}`, where a value that is not UTF-8 is `{"base64": "…"}`. `import` ignores an `etag`
and `siblings`, as `export` writes them, and puts the value. TSV: row, tab, value, as bytes; in both, `\t`, `\n`, `\r`
and `\\` stand for tab, line feed, carriage return and backslash. A line may end with a carriage return before its line
feed. Empty lines count as lines, but are not rows.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from gossipkv.client import Row, value_from_json, value_to_json
from gossipkv.client.tables.row import line_of, value_to_send

FORMATS = ("ndjson", "tsv")
_NDJSON_SUFFIXES = (".ndjson", ".jsonl", ".json")

_ESCAPES = {b"\t": rb"\t", b"\n": rb"\n", b"\r": rb"\r", b"\\": rb"\\"}
_UNESCAPES = {escape: character for character, escape in _ESCAPES.items()}
_ESCAPED = re.compile(rb"\\.?", re.DOTALL)
_SIBLINGS = re.compile(rb',\s*"siblings"\s*:\s*\[')
_TO_ESCAPE = re.compile(rb"[\t\n\r\\]")


def format_of(name: str, first_line: bytes) -> str:
    """The format of a file: by its name, otherwise by its first line."""
    suffix = Path(name).suffix.lower()
    if suffix in _NDJSON_SUFFIXES:
        return "ndjson"
    if suffix == ".tsv":
        return "tsv"
    return "ndjson" if first_line.lstrip().startswith(b"{") else "tsv"


def parse(line: bytes, row_format: str) -> tuple[str, bytes]:
    """Row and value of a line. Raises ValueError, whose text says what is wrong."""
    return _parse_ndjson(line) if row_format == "ndjson" else _parse_tsv(line)


def render(row: Row, row_format: str) -> bytes:
    """The line for a row, with its line feed."""
    value = row.value or b""
    if row_format == "tsv":
        return _escaped(row.row.encode()) + b"\t" + _escaped(value) + b"\n"
    item: dict[str, object] = {"row": row.row, "value": value_to_json(value), "etag": row.etag}
    if row.siblings:
        item["siblings"] = [{"value": value_to_json(sibling)} for sibling in row.siblings]
        item["context"] = row.context
    return line_of(item) + b"\n"


def batch_line(row: str, value: bytes) -> bytes:
    """The line for a put in a batch."""
    return line_of({"row": row, "value": value_to_send(value)})


def without_siblings(beginning: bytes) -> bytes:
    """The line of an export, of which this is the beginning, up to its siblings; empty if they do not begin there. An
    import takes the row's value, so that siblings of any number and size need not be held."""
    # Inside of a text each quotation mark has a backslash before it: no value can hold this.
    match = _SIBLINGS.search(beginning)
    return b"" if match is None else beginning[: match.start()] + b"}"


def _parse_ndjson(line: bytes) -> tuple[str, bytes]:
    try:
        item = json.loads(line)
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(item, dict) or not isinstance(item.get("row"), str) or "value" not in item:
        raise ValueError('not {"row": "…", "value": "…"}')
    row = item["row"]
    if any("\ud800" <= character <= "\udfff" for character in row):
        raise ValueError("the row key cannot be encoded in UTF-8")
    return row, value_from_json(item["value"])


def _parse_tsv(line: bytes) -> tuple[str, bytes]:
    row, tab, value = line.partition(b"\t")
    if not tab:
        raise ValueError("no tab between row and value")
    if b"\t" in value:
        raise ValueError(r"more than one tab: write \t for a tab in a value")
    try:
        return _unescaped(row).decode(), _unescaped(value)
    except UnicodeDecodeError:
        raise ValueError("the row key is not UTF-8") from None


def _escaped(content: bytes) -> bytes:
    return _TO_ESCAPE.sub(lambda match: _ESCAPES[match[0]], content)


def _unescaped(content: bytes) -> bytes:
    if b"\\" not in content:
        return content

    def character(match: re.Match[bytes]) -> bytes:
        if match[0] not in _UNESCAPES:
            raise ValueError(rf"{match[0].decode(errors='replace')!r} is no escape: \t, \n, \r and \\ are")
        return _UNESCAPES[match[0]]

    return _ESCAPED.sub(character, content)
