from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from helm.gossipkv.mixin.cluster_dashboard import CLUSTER
from helm.gossipkv.mixin.member_dashboard import MEMBER
from tests.deployment.test_operations import labels_by_metric
from tests.kubernetes.monitoring.alerting import ALERTS, CASE_FILES, ROOT, cases, rules, tool

RULES = rules()
NAMES = [rule["alert"] for rule in RULES]
RUNBOOK = ROOT / "docs/runbook.md"
SOURCE = "\n".join(path.read_text() for path in sorted((ROOT / "gossipkv").rglob("*.py")))
PARTS = ("Meaning", "Impact", "Diagnosis", "Remedy")


def run(*command: str) -> None:
    done = subprocess.run([tool("promtool"), *command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def sections() -> dict[str, str]:
    """Text by heading."""
    parts = re.split(r"^## (.+)$", RUNBOOK.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_prometheus_takes_the_rules() -> None:
    run("check", "rules", str(ALERTS))


@pytest.mark.parametrize("path", CASE_FILES, ids=lambda path: path.stem)
def test_the_alerts_fire_when_they_must_and_only_then(path: Path) -> None:
    run("test", "rules", str(path))


@pytest.mark.parametrize("name", NAMES)
def test_each_alert_has_a_case_in_which_it_waits_and_fires_and_one_in_which_it_stays_silent(name: str) -> None:
    own = [case for case in cases() if case.alert == name]
    assert any(case.waits for case in own)
    assert any(not case.fires for case in own)


def test_every_case_is_of_an_alert_that_exists() -> None:
    assert {case.alert for case in cases()} == set(NAMES)
    assert len(NAMES) == len(set(NAMES))


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_each_alert_says_what_is_wrong_how_bad_it_is_and_where_the_remedy_stands(rule: dict[str, Any]) -> None:
    annotations = rule["annotations"]
    assert annotations["summary"].endswith(".")
    assert annotations["description"].endswith(".")
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert annotations["runbook_url"] == f"docs/runbook.md#{rule['alert'].lower()}"


@pytest.mark.parametrize("name", NAMES)
def test_the_runbook_has_a_section_for_each_alert(name: str) -> None:
    text = sections()[name]
    places = [text.index(f"**{part}.**") for part in PARTS]
    assert places == sorted(places)
    assert "```" in text[places[2] : places[3]], "a diagnosis names commands"


def test_the_runbook_has_no_section_for_an_alert_that_is_gone() -> None:
    assert [heading for heading in sections() if heading.startswith("Gossipkv")] == NAMES


def test_the_runbook_looks_for_lines_that_are_logged() -> None:
    sought = [word for words in re.findall(r"grep -\w+ '([\w|]+)'", RUNBOOK.read_text()) for word in words.split("|")]
    assert len(sought) > 20
    assert [word for word in sought if word not in SOURCE] == []


def test_the_runbook_names_metrics_and_panels_that_are_there() -> None:
    text = RUNBOOK.read_text()
    assert set(re.findall(r"\bgossipkv_[a-z_]+", text)) <= set(labels_by_metric())
    sections = [*CLUSTER.sections, *MEMBER.sections]
    titles = {section.title for section in sections} | {panel.title for section in sections for panel in section.panels}
    named = {name.replace("\n", " ") for name in re.findall(r"\"([A-Z][^\"]{4,})\"", text)}
    assert named
    assert named - titles == set()
