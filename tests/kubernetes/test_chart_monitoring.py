"""What the chart hands to Prometheus and Grafana."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from tests.kubernetes.chart_rendering import CHART, FULLNAME, HEADLESS, NAMESPACE, rendered


@pytest.fixture
def chart_with_mixin(tmp_path: Path) -> Path:
    """The chart with a mixin of the test's own."""
    chart = tmp_path / "gossipkv"
    shutil.copytree(CHART, chart, ignore=shutil.ignore_patterns("mixin"))
    (chart / "mixin/dashboards").mkdir(parents=True)
    (chart / "mixin/alerts.yaml").write_text(
        "# A comment.\ngroups:\n  - name: gossipkv\n    rules:\n      - alert: Down\n        expr: up == 0\n"
        "        annotations: {summary: '{{ $labels.pod }} is down'}\n"
    )
    (chart / "mixin/dashboards/cluster.json").write_text('{"legendFormat": "{{pod}}",\n "title": "Cluster"}\n')
    (chart / "mixin/dashboards/member.json").write_text('{"title": "Member"}')
    return chart


def test_every_member_is_scraped_once() -> None:
    objects = rendered("monitoring")
    monitor = objects.only("ServiceMonitor")
    assert monitor["metadata"]["namespace"] == "monitoring"
    assert monitor["metadata"]["labels"]["release"] == "kube-prometheus-stack"
    assert monitor["spec"]["namespaceSelector"] == {"matchNames": [NAMESPACE]}
    selector = monitor["spec"]["selector"]["matchLabels"]
    selected = [each for each in objects.of("Service") if each["metadata"]["labels"].items() >= selector.items()]
    assert [each["metadata"]["name"] for each in selected] == [HEADLESS]
    (endpoint,) = monitor["spec"]["endpoints"]
    assert (endpoint["port"], endpoint["path"]) == ("http", "/metrics")
    assert (endpoint["interval"], endpoint["scrapeTimeout"]) == ("30s", "5s")
    assert {each["targetLabel"] for each in endpoint["relabelings"]} == {"namespace", "pod", "job", "cluster"}
    assert endpoint["metricRelabelings"][0]["action"] == "drop"


def test_rules_and_dashboards_are_those_of_the_mixin(chart_with_mixin: Path) -> None:
    objects = rendered("monitoring", chart=chart_with_mixin)
    rule = objects.only("PrometheusRule")
    assert rule["spec"] == yaml.safe_load((chart_with_mixin / "mixin/alerts.yaml").read_text())
    assert rule["metadata"]["labels"]["release"] == "kube-prometheus-stack"
    dashboards = objects.of("ConfigMap")
    assert {each["metadata"]["name"] for each in dashboards} == {
        f"{FULLNAME}-dashboard-{n}" for n in ("cluster", "member")
    }
    for each in dashboards:
        assert each["metadata"]["namespace"] == "monitoring"
        assert each["metadata"]["labels"]["grafana_dashboard"] == "yes"
        assert each["metadata"]["annotations"] == {"grafana_folder": "Stores"}
    (content,) = dashboards[0]["data"].values()
    assert yaml.safe_load(content) == {"legendFormat": "{{pod}}", "title": "Cluster"}


def test_the_chart_renders_without_a_mixin(tmp_path: Path) -> None:
    chart = tmp_path / "gossipkv"
    shutil.copytree(CHART, chart, ignore=shutil.ignore_patterns("mixin"))
    objects = rendered("monitoring", chart=chart)
    assert objects.only("ServiceMonitor")
    assert not objects.of("PrometheusRule") + objects.of("ConfigMap")
