"""The values files of deployment/: each is what the chart's schema allows, added to those that it belongs to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "gossipkv"
DEPLOYMENT = ROOT / "deployment"

INSTALLS = (
    ("local/values.yaml",),
    ("local/values.yaml", "local/values-monitoring.yaml"),
    ("aws/values-eks.yaml",),
    ("aws/values-eks.yaml", "local/values-monitoring.yaml"),
    ("aws/values-eks.yaml", "aws/values-strict-zones.yaml", "aws/values-nlb.yaml"),
)
"""What the READMEs install, as values files in order."""

OTHER_CHARTS = ("local/values-prometheus-stack.yaml",)


def merged(base: dict[str, Any], added: dict[str, Any]) -> dict[str, Any]:
    """As Helm does it: maps are merged, all else is replaced."""
    result = dict(base)
    for key, value in added.items():
        known = result.get(key)
        result[key] = merged(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return result


def unknown_keys(known: Any, added: Any, path: str = "") -> list[str]:
    """Keys of `added` that `known` lacks, but for maps that are empty there and take any key."""
    if not isinstance(added, dict) or not isinstance(known, dict) or not known:
        return []
    absent = [f"{path}{key}" for key in added if key not in known]
    return absent + [
        name for key in added if key in known for name in unknown_keys(known[key], added[key], f"{path}{key}.")
    ]


def load(name: str) -> dict[str, Any]:
    values = yaml.safe_load((DEPLOYMENT / name).read_text())
    assert isinstance(values, dict)
    return values


@pytest.mark.parametrize("names", INSTALLS, ids=" ".join)
def test_the_values_of_an_install_match_the_schema_of_the_chart(names: tuple[str, ...]) -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    for name in names:
        values = merged(values, load(name))
    jsonschema.validate(values, json.loads((CHART / "values.schema.json").read_text()))


@pytest.mark.parametrize("name", sorted({name for names in INSTALLS for name in names}))
def test_a_values_file_names_values_that_the_chart_has(name: str) -> None:
    assert unknown_keys(yaml.safe_load((CHART / "values.yaml").read_text()), load(name)) == []


def test_every_values_file_is_part_of_a_tested_install() -> None:
    found = {str(path.relative_to(DEPLOYMENT)) for path in DEPLOYMENT.glob("*/values*.yaml")}
    assert found == {name for names in INSTALLS for name in names} | set(OTHER_CHARTS)


def test_the_dashboards_carry_the_label_that_grafana_looks_for() -> None:
    sidecar = load("local/values-prometheus-stack.yaml")["grafana"]["sidecar"]["dashboards"]
    values = merged(yaml.safe_load((CHART / "values.yaml").read_text()), load("local/values-monitoring.yaml"))
    assert values["dashboards"]["labels"] == {sidecar["label"]: sidecar["labelValue"]}
