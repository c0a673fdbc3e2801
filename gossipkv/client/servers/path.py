"""Paths and headers of the HTTP API."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

CONTEXT = "Gossipkv-Context"
RECEIPT = "Gossipkv-Receipt"


def tables_path(namespace: str) -> str:
    """Return the path of the list of tables."""
    return f"/v1/{_segment(namespace)}/tables"


def table_path(namespace: str, table: str) -> str:
    """Return the path of a table."""
    return f"{tables_path(namespace)}/{_segment(table)}"


def row_path(namespace: str, table: str, row: str) -> str:
    """Return the path of a row."""
    return f"{table_path(namespace, table)}/rows/{_segment(row)}"


def receipt_path(receipt: str) -> str:
    """Return the path of a receipt."""
    return f"/v1/cluster/receipts/{_segment(receipt)}"


def member_path(member: str) -> str:
    """Return the path of a member."""
    return f"/v1/cluster/members/{_segment(member)}"


def _segment(text: str) -> str:
    """One encoded segment of a path. `.` and `..` are encoded too, so that they are not interpreted as steps."""
    return quote(text, safe="") if text not in (".", "..") else text.replace(".", "%2E")


def etag_of(headers: Mapping[str, str]) -> str:
    """As in listings, without the quotes that a header wants."""
    return headers.get("ETag", "").strip('"')
