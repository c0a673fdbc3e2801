"""JSON Schemas of what the API takes and answers."""

from __future__ import annotations

from typing import Any

_TEXT: dict[str, Any] = {"type": "string"}
_COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}
_SECONDS: dict[str, Any] = {"type": ["number", "null"], "minimum": 0}
_HEX: dict[str, Any] = {"type": "string", "pattern": "^[0-9a-f]{16}$"}


def _reference(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _record(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": required | (optional or {})}


def _page(item: str) -> dict[str, Any]:
    items = {"type": "array", "items": _reference(item)}
    return _record({"items": items, "next_cursor": {"type": ["string", "null"]}})


_LINE: dict[str, Any] = {"etag": _TEXT, "context": _TEXT, "siblings": {}}

SCHEMAS: dict[str, Any] = {
    "Value": {
        "description": "Text, or base64 where the bytes are not UTF-8",
        "oneOf": [_TEXT, _record({"base64": _TEXT}) | {"additionalProperties": False}],
    },
    "Row": _record(
        {"row": _TEXT, "etag": _TEXT},
        {
            "value": _reference("Value") | {"description": "Of several, the one that would win"},
            "siblings": {"type": "array", "items": _reference("Sibling")},
            "context": _TEXT,
        },
    ),
    "Sibling": _record({"value": _reference("Value"), "etag": _TEXT}),
    "Siblings": _record(
        {
            "row": _TEXT,
            "etag": _TEXT,
            "context": _TEXT,
            "siblings": {"type": "array", "items": _reference("Sibling")},
        }
    ),
    "RowPage": _page("Row"),
    "BatchLine": {
        "oneOf": [
            _record({"row": _TEXT, "value": _reference("Value")}, _LINE | {"ttl": _TEXT})
            | {"additionalProperties": False},
            _record({"row": _TEXT, "delete": {"const": True}}, _LINE) | {"additionalProperties": False},
        ]
    },
    "BatchResult": _record(
        {"row": {"type": ["string", "null"]}, "status": {"type": "integer"}},
        {"etag": _TEXT, "receipt": _TEXT, "problem": _reference("Problem")},
    ),
    "Settings": _record(
        {},
        {
            "conflicts": {"enum": ["lww", "siblings"], "default": "lww"},
            "w": {"type": "integer", "minimum": 1, "default": 1},
            "r": {"type": "integer", "minimum": 1, "default": 1},
        },
    )
    | {"additionalProperties": False},
    "Table": _record(
        {
            "table": _TEXT,
            "rows": _COUNT | {"description": "With any value, expired ones included until they are deleted everywhere"},
            "tombstones": _COUNT,
            "value_bytes": _COUNT | {"description": "Of keys and values"},
            "conflicts_lost": _COUNT
            | {"description": "Concurrent versions that gave way to a later write, at this member since it started"},
            "settings": _reference("Settings"),
        }
    ),
    "TablePage": _page("Table"),
    "Shard": _record(
        {
            "rows": _COUNT,
            "tombstones": _COUNT,
            "fingerprint": _HEX,
            "rows_behind": _COUNT,
            "last_sync_seconds": _SECONDS,
            "heard_seconds": _SECONDS,
        }
    ),
    "Processes": _record(
        {
            "processes": {
                "description": "Those that run under one member's name, the older one first",
                "type": "array",
                "items": _record({"replica": _HEX, "endpoint": _TEXT, "incarnation": {"type": "integer"}}),
            },
            "copies_of_one_volume": {"type": "boolean"},
            "seconds": {"type": "number", "minimum": 0, "description": "Since it was noticed here"},
            "remedy": _TEXT,
        }
    ),
    "Member": _record(
        {
            "member": _TEXT,
            "status": {"enum": ["alive", "suspect", "dead", "left"]},
            "self": {"type": "boolean"},
            "replica": {"anyOf": [_HEX, {"type": "null"}]},
            "incarnation": {"type": ["integer", "null"]},
            "refutations": _COUNT | {"description": "Of words against it, since its incarnation began"},
            "status_seconds": {"type": "number", "minimum": 0, "description": "Since it has had this status here"},
            "protocols": {"type": "array", "items": _record({"name": _TEXT, "endpoint": _TEXT})},
            "zone": {"type": ["string", "null"]},
            "version": _TEXT,
            "failures": _COUNT,
            "runs_twice": {"anyOf": [_reference("Processes"), {"type": "null"}]},
            "clock_ahead_seconds": {"type": "number"},
            "shards": _record({"usr": _reference("Shard"), "sys": _reference("Shard")}),
        }
    ),
    "MemberPage": _page("Member"),
    "Cluster": _record(
        {
            "cluster": _TEXT,
            "member": _TEXT,
            "ready": {"type": "boolean"},
            "alone_seconds": _SECONDS
            | {"description": "Since this member last heard another, or started; null while it is not alone"},
            "members": {"type": "array", "items": _reference("Member")},
            "transfers": {"type": "object", "additionalProperties": _TEXT},
            "unreadable": _record(
                {
                    "rows": _COUNT | {"description": "Rows whose copy at this member cannot be read"},
                    "items": {
                        "description": "Up to 100 of them",
                        "type": "array",
                        "items": _record({"namespace": _TEXT, "table": _TEXT, "row": _TEXT, "reason": _TEXT}),
                    },
                }
            ),
            "clock": _record(
                {
                    "ahead_seconds": {
                        "description": "How far the clock is ahead of the median of all; null: none was compared",
                        "type": ["number", "null"],
                    },
                    "off": {
                        "description": "Whether writes are refused, because it differs by more than clock_skew_ms_max",
                        "type": "boolean",
                    },
                    "compared_with": _COUNT | {"description": "Clocks of other members"},
                }
            ),
            "refusing": {
                "description": "Reasons for which the member refuses rows of others at present, apart from no_room",
                "type": "array",
                "items": _TEXT,
            },
            "unreached": {
                "description": "Endpoints that discovery gives and where no member has answered yet",
                "type": "array",
                "items": _TEXT,
            },
            "descriptors": _record(
                {
                    "open": {"type": ["integer", "null"], "minimum": 0, "description": "Open file descriptors"},
                    "limit": {"type": ["integer", "null"], "minimum": 0, "description": "null: there is none"},
                    "short_seconds": _SECONDS | {"description": "null while there are enough"},
                }
            ),
            "storage": _record(
                {
                    "room": {
                        "description": "scarce: puts are refused; spent: rows with values from other members, too",
                        "enum": ["ample", "scarce", "spent"],
                    },
                    "since_seconds": {"type": "number", "minimum": 0},
                    "used_bytes": _COUNT,
                    "capacity_bytes": _COUNT,
                    "short_of_room": {
                        "description": "Other members that are: puts are refused as long as there are any",
                        "type": "array",
                        "items": _TEXT,
                    },
                    "waiting": {
                        "description": "Members with which rows wait, because they did not fit here or there",
                        "type": "array",
                        "items": _TEXT,
                    },
                }
            ),
            "lacking": {
                "description": "Rows that the member knows of and could not take in",
                "type": "array",
                "items": _record({"namespace": _TEXT, "table": _TEXT, "row": _TEXT, "reason": _TEXT}),
            },
            "collection": _record(
                {
                    "blocked_by": {
                        "description": "Members not known to have heard of a deletion, which is remembered for them",
                        "type": "array",
                        "items": _TEXT,
                    },
                    "collected": _COUNT | {"description": "Deleted rows forgotten here since the member started"},
                }
            ),
        }
    ),
    "Coverage": _record(
        {
            "receipt": _TEXT,
            "copies": _COUNT | {"description": "Durable copies at members that have not left"},
            "complete": {"type": "boolean"},
            "members": {
                "type": "array",
                "items": _record(
                    {
                        "member": _TEXT,
                        "status": {"enum": ["alive", "suspect", "dead", "left"]},
                        "self": {"type": "boolean"},
                        "has_it": {"type": "boolean"},
                    }
                ),
            },
        }
    ),
    "Problem": {
        "description": "RFC 9457",
        **_record({"type": _TEXT, "title": _TEXT, "status": {"type": "integer"}, "detail": _TEXT}),
    },
}
