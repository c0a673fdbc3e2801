"""What can be said of the chart without helm: its values, their schema, their README, its version."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import yaml

from gossipkv.config.settings import rules
from tests.chart.settings_schema import PATH, SET_BY_CHART, settings_schema, text_of
from tests.chart.values_readme import CHART, README, VALUES, documented_values, readme_of, value_at

FOR_PARENT_CHARTS = {("global",), ("enabled",)}
"""In the schema alone: Helm hands them to a chart that is part of another."""

SOURCE = VALUES.read_text()
DEFAULTS = yaml.safe_load(SOURCE)
SCHEMA = json.loads(PATH.read_text())
DOCUMENTED = {each.path for each in documented_values(SOURCE)}


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(value, dict) and value and path not in DOCUMENTED:
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    else:
        yield path


def schema_leaves(schema: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if "properties" in schema and path not in DOCUMENTED:
        for key, inner in schema["properties"].items():
            yield from schema_leaves(inner, (*path, key))
    else:
        yield path


def open_objects(schema: Any, path: str = "") -> Iterator[str]:
    """Places with named properties that let others through."""
    if isinstance(schema, dict):
        is_condition = path.rsplit("/", 1)[-1] in ("if", "then")
        if "properties" in schema and not is_condition and schema.get("additionalProperties") is not False:
            yield path
        for key, inner in schema.items():
            yield from open_objects(inner, f"{path}/{key}")


def with_value(path: str, value: Any) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(json.dumps(DEFAULTS))
    *parents, last = path.split(".")
    value_at(values, tuple(parents))[last] = value
    return values


def test_the_readme_is_written_from_the_values() -> None:
    assert README.read_text() == readme_of(SOURCE), "run `python -m tests.chart.values_readme`"


def test_every_value_has_a_comment_in_a_section() -> None:
    assert set(leaves(DEFAULTS)) == DOCUMENTED
    assert all(each.section and each.text for each in documented_values(SOURCE))


def test_the_schema_covers_every_value_and_no_other() -> None:
    assert set(schema_leaves(SCHEMA)) - FOR_PARENT_CHARTS == DOCUMENTED


def test_the_schema_is_one_and_admits_the_defaults() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(DEFAULTS, SCHEMA)


def test_no_place_with_named_properties_lets_others_through() -> None:
    assert set(open_objects(SCHEMA)) == set()


def test_the_schema_of_settings_is_that_of_the_program() -> None:
    assert SCHEMA["properties"]["settings"] == settings_schema(), "run `python -m tests.chart.settings_schema`"
    assert text_of(SCHEMA) == PATH.read_text(), "run `python -m tests.chart.settings_schema`"


def test_what_the_chart_sets_are_settings() -> None:
    assert rules().keys() >= SET_BY_CHART


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("replicaCount", -1),
        ("replicaCount", "3"),
        ("replicas", 3),
        ("persistence.size", "8GB"),
        ("persistence.size", "1Mi"),
        ("persistence.size", "19M"),
        ("persistence.sise", "8Gi"),
        ("podDisruptionBudget.maxUnavailable", 0),
        ("podDisruptionBudget.maxUnavailable", "0%"),
        ("settings", {"gossip_interval": 5}),
        ("settings", {"gossip_interval_ms": 5}),
        ("settings", {"member": "a"}),
        ("settings", {"storage_bytes_max": 16777217}),
        ("image.digest", "sha256:abc"),
        ("image.repository", "gossipkv@sha256:abc"),
        ("service.type", "ExternalName"),
        ("ingress.enabled", True),
        ("httpRoute.enabled", True),
        ("commonLabels", {"team": 1}),
        ("nameOverride", "a" * 53),
        ("probes.liveness", {"path": "/"}),
    ],
)
def test_a_wrong_value_is_refused(path: str, value: Any) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(with_value(path, value), SCHEMA)


def test_the_chart_is_of_the_version_of_the_package() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = tomllib.loads((CHART.parents[1] / "pyproject.toml").read_text())["project"]
    assert chart["appVersion"] == project["version"]


def test_volume_claims_bear_no_label_that_changes() -> None:
    template = (CHART / "templates/statefulset.yaml").read_text()
    claims = template[template.index("volumeClaimTemplates:") :]
    assert "gossipkv.labels" not in claims
    assert "ommonLabels" not in claims
    assert "Chart" not in claims


def test_nothing_random_is_rendered() -> None:
    templates = [path.read_text() for path in (CHART / "templates").rglob("*") if path.is_file()]
    assert len(templates) > 10
    for function in ("rand", "uuidv4", "genCA", "genSelfSigned", "genPrivateKey", "now", "lookup", "checksum"):
        assert not [text for text in templates if f"{{{{ {function}" in text or f"({function}" in text], function
