"""The alerts and their cases, as data."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
ALERTS = ROOT / "helm/gossipkv/mixin/alerts.yaml"
CASE_FILES = sorted(Path(__file__).parent.glob("*.yaml"))


@dataclass(frozen=True, slots=True)
class Case:
    """What is expected of one alert over one set of series."""

    alert: str
    expected: tuple[bool, ...]
    """Whether it fires, in the order of time."""

    @property
    def fires(self) -> bool:
        return any(self.expected)

    @property
    def waits(self) -> bool:
        """Whether it is silent first and fires later."""
        return self.fires and not self.expected[0]


def tool(name: str) -> str:
    """Its path."""
    path = shutil.which(name)
    assert path is not None, f"{name} is missing: install the Debian package prometheus"
    return path


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def cases() -> list[Case]:
    return [
        Case(
            alert, tuple(bool(check["exp_alerts"]) for check in test["alert_rule_test"] if check["alertname"] == alert)
        )
        for path in CASE_FILES
        for test in yaml.safe_load(path.read_text())["tests"]
        for alert in sorted({check["alertname"] for check in test["alert_rule_test"]})
    ]
