"""Parses the target of a request.

A row key is everything after `rows/`, percent-decoded once, and may contain any character. So paths are parsed here as
they came, before anything has decoded or normalised them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote_to_bytes

from gossipkv.api.problem import ProblemError
from gossipkv.core.model.address import address_of
from gossipkv.rows.arguments.names import checked_row_key, is_table_name, table_name
from gossipkv.rows.view.namespaces import known_namespace, writable_namespace

TABLES = "/v1/{namespace}/tables"
TABLE = "/v1/{namespace}/tables/{table}"
ROWS = "/v1/{namespace}/tables/{table}/rows"
ROW = "/v1/{namespace}/tables/{table}/rows/{row}"
RECEIPT = "/v1/cluster/receipts/{receipt}"
MEMBER = "/v1/cluster/members/{member}"
BATCH = "/v1/{namespace}/tables/{table}/rows:batch"
WATCH = "/v1/{namespace}/tables/{table}/rows:watch"

_UNDER_TABLE = {"rows": ROWS, "rows:batch": BATCH, "rows:watch": WATCH}
_BAD_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_BAD_QUERY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_QUERY_FIELDS_MAX = 32

Parameters = Mapping[str, str]


class Target(NamedTuple):
    """A parsed target. Parts are still encoded; parts that the template does not have are empty."""

    template: str
    """For paths without parts, the path itself: it may be none of ours."""
    namespace: str
    table: str
    row: str
    """The row, or the last name in other paths: a receipt, a member."""
    query: str


def target_of(raw_path: str) -> Target:
    """Parse a request target in origin form or absolute form."""
    path, _, query = raw_path.partition("?")
    if not path.startswith("/"):
        path = "/" + path.partition("://")[2].partition("/")[2]
    parts = path.split("/", 6)
    count = len(parts)
    if count >= 4 and parts[1] == "v1" and parts[3] == "tables":
        if count == 7 and parts[5] == "rows":
            return Target(ROW, parts[2], parts[4], parts[6], query)
        if count == 6 and parts[5] in _UNDER_TABLE:
            return Target(_UNDER_TABLE[parts[5]], parts[2], parts[4], "", query)
        if count == 5:
            return Target(TABLE, parts[2], parts[4], "", query)
        if count == 4:
            return Target(TABLES, parts[2], "", "", query)
    if count == 5 and parts[3] == "receipts" and parts[2] == "cluster" and parts[1] == "v1":
        return Target(RECEIPT, "", "", parts[4], query)
    if count == 5 and parts[3] == "members" and parts[2] == "cluster" and parts[1] == "v1":
        return Target(MEMBER, "", "", parts[4], query)
    return Target(path, "", "", "", query)


def namespace_of(target: Target, *, for_writing: bool = False) -> str:
    """Raises RequestError."""
    namespace = known_namespace(target.namespace)
    return writable_namespace(namespace) if for_writing else namespace


def table_of(target: Target) -> str:
    return _checked_table(target.table)


@lru_cache(maxsize=1024)
def _checked_table(encoded: str) -> str:
    return encoded if is_table_name(encoded) else table_name(_decoded(encoded).decode())


def member_of(target: Target) -> str:
    return _decoded(target.row).decode()


def row_address_of(target: Target) -> bytes:
    table = table_of(target)
    row = target.row
    key = row.encode() if row.isascii() and "%" not in row and "#" not in row else _decoded(row)
    return address_of(table, checked_row_key(key))


def _decoded(part: str) -> bytes:
    """Percent-decoded once, and UTF-8."""
    encoded = part.encode(errors="surrogateescape")
    if b"#" in encoded:
        raise ProblemError("invalid-path", "a `#` in a path is written `%23`")
    if bad := _BAD_PERCENT.search(encoded):
        raise ProblemError(
            "invalid-path", f"the `%` at byte {bad.start()} of its part is not followed by two hex digits"
        )
    decoded = unquote_to_bytes(encoded)
    try:
        decoded.decode()
    except UnicodeDecodeError as error:
        raise ProblemError("invalid-path", f"byte {error.start} of the decoded part is not UTF-8") from None
    return decoded


def parameters_of(query: str, allowed: Set[str]) -> dict[str, str]:
    """The parameters of the query; each must be allowed and given once. `+` is a space, as in forms."""
    if bad := _BAD_QUERY_PERCENT.search(query):
        raise ProblemError(
            "invalid-parameter", f"the `%` at {bad.start()} of the query is not followed by two hex digits"
        )
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=_QUERY_FIELDS_MAX)
        query.encode()
    except UnicodeError:
        raise ProblemError("invalid-parameter", "the query is not percent-encoded UTF-8") from None
    except ValueError:
        raise ProblemError("invalid-parameter", f"the query has more than {_QUERY_FIELDS_MAX} parameters") from None
    parameters = dict(pairs)
    if unknown := sorted(parameters.keys() - allowed):
        known = f"it knows {', '.join(sorted(allowed))}" if allowed else "it knows none"
        raise ProblemError(
            "unknown-parameter", f"this call does not know {', '.join(unknown)}; {known}", parameters=unknown
        )
    if len(parameters) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = sorted(name for name in parameters if names.count(name) > 1)
        raise ProblemError("repeated-parameter", f"given more than once: {', '.join(repeated)}", parameters=repeated)
    return parameters
