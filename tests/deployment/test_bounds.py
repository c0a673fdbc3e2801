"""Every bound on what a member holds is a setting with a metric, and operations.md says what is refused beyond it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gossipkv.config.settings import Settings, rules
from gossipkv.discovery.static import StaticDiscovery
from gossipkv.embedding.composition import api_options, composed
from gossipkv.intake.limits import PortBounds
from gossipkv.member.metrics import Metrics
from tests.deployment.test_operations import DOCS, labels_by_metric

IS_BOUND = re.compile(r".*_max|.*_timeout_m?s")
WITHOUT_METRIC = {
    "retry_ms_max": "nothing is refused: it is the longest pause between attempts",
    "page_rows_max": "nothing is refused: a page ends, and the next one follows",
    "page_bytes_max": "nothing is refused: a page ends, and the next one follows",
    "stop_timeout_s": "the process ends, and its metrics with it",
}


def metrics_of_a_member(directory: Path) -> Metrics:
    metrics = Metrics()
    settings = Settings(data_dir=str(directory))
    node = composed(settings, {"gossip": "http://a:1"}, StaticDiscovery(()), metrics)
    node._storage.close()
    bounds = PortBounds(api_options(settings).port)
    metrics.account_for(*bounds.bounds, *bounds.cuts)
    return metrics


def bounds_of_a_member(directory: Path) -> dict[str, int]:
    """The limit of each bound that a member accounts for in /metrics, by name."""
    return {name: bound.limit for name, bound in metrics_of_a_member(directory)._intake.bounds.items()}


def test_each_bound_has_a_metric_or_a_reason_to_have_none() -> None:
    bounds = {name for name in rules() if IS_BOUND.fullmatch(name)}
    assert {name for name in bounds if not rules()[name][2].metrics} == set(WITHOUT_METRIC)


@pytest.mark.parametrize("name", [name for name, (_, _, rule) in rules().items() if rule.metrics])
def test_the_metrics_of_a_setting_are_there(name: str) -> None:
    known = labels_by_metric()
    for metric in rules()[name][2].metrics:
        found = re.fullmatch(r"(\w+)(?:\{(\w+)=\"\w+\"\})?", metric)
        assert found is not None, metric
        assert found[1] in known
        assert found[2] is None or found[2] in known[found[1]]


def test_each_bound_on_what_is_held_is_a_setting_and_shown_with_its_limit(tmp_path: Path) -> None:
    settings = Settings()
    held = {name for name, (_, _, rule) in rules().items() if "gossipkv_intake_used" in rule.metrics}
    assert bounds_of_a_member(tmp_path) == {name: getattr(settings, name) for name in held}


def test_operations_says_what_is_refused_beyond_each_bound(tmp_path: Path) -> None:
    _, _, after = (DOCS / "operations.md").read_text().partition("\n| bound | what is refused beyond it |\n")
    rows = after.partition("\n\n")[0].splitlines()[1:]
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert sorted(named) == sorted(bounds_of_a_member(tmp_path))


def test_operations_names_each_cause_of_a_refusal(tmp_path: Path) -> None:
    causes = set(metrics_of_a_member(tmp_path)._intake.refusals)
    text = (DOCS / "operations.md").read_text()
    assert causes > set(bounds_of_a_member(tmp_path))
    assert [
        cause for cause in causes if f"`{cause}`" not in text and f"`…_{cause.partition('_')[2]}`" not in text
    ] == []
