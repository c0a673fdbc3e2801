"""The schema of the chart's value `settings`, made from the settings of a member.

`python -m tests.chart.settings_schema` writes it into values.schema.json; the rest of that file is written by hand.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gossipkv.config.settings import Rule, Value, rules

PATH = Path(__file__).parents[2] / "helm/gossipkv/values.schema.json"

SET_BY_CHART = frozenset(
    {
        "member",
        "cluster",
        "data_dir",
        "http_host",
        "http_port",
        "gossip_host",
        "gossip_port",
        "advertise_host",
        "discovery",
        "discovery_dns_name",
        "discovery_namespace",
        "discovery_service",
        "peers",
    }
)
"""Refused in `settings`: they differ from member to member, or must agree with other parts of the chart."""

_TYPES = {str: "string", int: "integer", float: "number"}


def settings_schema() -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            name: _schema_of(kind, rule) for name, (kind, _, rule) in rules().items() if name not in SET_BY_CHART
        },
    }


def _schema_of(kind: type[Value], rule: Rule) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": _TYPES[kind], "description": rule.help}
    if rule.choices:
        schema["enum"] = list(rule.choices)
    if rule.pattern:
        schema["pattern"] = f"^(?:{rule.pattern})$"
    limits = {"minimum": rule.minimum, "maximum": rule.maximum, "multipleOf": rule.multiple}
    return schema | {name: limit for name, limit in limits.items() if limit is not None}


def text_of(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    written = json.loads(PATH.read_text())
    written["properties"]["settings"] = settings_schema()
    PATH.write_text(text_of(written))
