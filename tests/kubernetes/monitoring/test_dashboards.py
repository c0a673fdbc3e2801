from __future__ import annotations

import json
import re
from typing import Any

import pytest

from helm.gossipkv.mixin.dashboards import DIRECTORY, files
from tests.deployment.test_operations import labels_by_metric
from tests.kubernetes.monitoring.alerting import rules

DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in sorted(DIRECTORY.glob("*.json"))}
NAMES = sorted(DASHBOARDS)
SHOWN_NOWHERE = {
    "process_virtual_memory_bytes": "the store reserves storage_bytes_max of address space, which costs nothing",
}
OF_PROMETHEUS = {"cluster", "namespace", "pod", "exported_namespace"}
"""Labels that the scrape adds; `exported_namespace` is a label `namespace` of a metric's own."""


def panels(name: str) -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARDS[name]["panels"] if panel["type"] != "row"]


def variables(name: str) -> dict[str, dict[str, Any]]:
    return {variable["name"]: variable for variable in DASHBOARDS[name]["templating"]["list"]}


def expressions() -> list[str]:
    """Those of all panels."""
    return [target["expr"] for name in NAMES for panel in panels(name) for target in panel["targets"]]


def metrics_in(expression: str) -> set[str]:
    named = re.findall(r"\b((?:gossipkv|process)_\w+)(?=[{\[)\s])", expression + " ")
    return {re.sub(r"_(?:bucket|sum|count)$", "", name) for name in named}


def test_the_files_are_what_the_sources_say() -> None:
    assert {path: path.read_text() for path in DIRECTORY.glob("*.json")} == files(), (
        "run: python -m helm.gossipkv.mixin.dashboards"
    )


@pytest.mark.parametrize("name", NAMES)
def test_no_dashboard_takes_the_place_of_another_one(name: str) -> None:
    assert DASHBOARDS[name]["id"] is None
    assert DASHBOARDS[name]["uid"] is None


@pytest.mark.parametrize("name", NAMES)
def test_every_panel_is_described_has_a_unit_and_reads_from_the_chosen_data_source(name: str) -> None:
    for panel in panels(name):
        assert panel["description"].endswith("."), panel["title"]
        assert panel["type"] in ("timeseries", "stat", "table", "heatmap")
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["targets"]
        for part in (panel, *panel["targets"]):
            assert part["datasource"] == {"type": "prometheus", "uid": "$datasource"}
        if panel["type"] == "timeseries":
            assert all(target["legendFormat"] for target in panel["targets"]), panel["title"]


@pytest.mark.parametrize("name", NAMES)
def test_every_query_keeps_to_what_is_selected(name: str) -> None:
    for panel in panels(name):
        for target in panel["targets"]:
            selectors = target["expr"].count("gossipkv_") + target["expr"].count("process_")
            for variable in set(variables(name)) - {"datasource"}:
                matches = target["expr"].count(f'{variable}=~"${variable}"') + target["expr"].count(f'="${variable}"')
                assert matches >= selectors, (panel["title"], variable)


@pytest.mark.parametrize("name", NAMES)
def test_a_prometheus_without_a_cluster_label_is_served(name: str) -> None:
    assert variables(name)["cluster"]["allValue"] == ".*"
    assert variables(name)["cluster"]["includeAll"]
    assert variables(name)["cluster"]["current"]["value"] == "$__all"


@pytest.mark.parametrize("name", NAMES)
def test_panels_do_not_overlap_and_stay_on_the_page(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARDS[name]["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    numbers = [panel["id"] for panel in DASHBOARDS[name]["panels"]]
    assert len(numbers) == len(set(numbers))


def test_every_metric_is_in_a_panel_or_an_alert() -> None:
    asked = [*expressions(), *(rule["expr"] for rule in rules())]
    shown = {name for expression in asked for name in metrics_in(expression)}
    assert set(labels_by_metric()) - shown == set(SHOWN_NOWHERE)
    assert shown - set(labels_by_metric()) == set(), "such metrics do not exist"


def test_each_bound_is_shown_beside_its_limit_which_is_dashed() -> None:
    [bounds] = [panel for panel in panels("member") if panel["title"] == "Bytes held, and their limits"]
    used, limit = bounds["targets"]
    assert limit["expr"] == used["expr"].replace("intake_used", "intake_limit")
    [override] = bounds["fieldConfig"]["overrides"]
    assert override["matcher"] == {"id": "byFrameRefID", "options": limit["refId"]}


@pytest.mark.parametrize("name", NAMES)
def test_legends_name_labels_that_the_series_have(name: str) -> None:
    labels = labels_by_metric()
    for panel in panels(name):
        for target in panel["targets"]:
            known = OF_PROMETHEUS.union(*(labels[metric] for metric in metrics_in(target["expr"])))
            assert set(re.findall(r"{{(\w+)}}", target.get("legendFormat", ""))) <= known | {"le"}, panel["title"]
