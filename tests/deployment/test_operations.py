"""docs/operations.md names existing settings and every metric, and the links of all pages resolve."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families

from gossipkv.config.settings import Settings
from gossipkv.core.membership.clocks import ClockStatus
from gossipkv.core.model.tally import Tally
from gossipkv.core.status import MemberStatus, ReplicaStatus, ShardStatus
from gossipkv.core.store.shortage import RoomStatus
from gossipkv.core.store.storage import Counts, Identity
from gossipkv.intake.bound import Bound
from gossipkv.member.metrics import Metrics

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(
    page for pattern in ("*.md", "docs/**/*.md", "deployment/*/*.md", "helm/*/*.md") for page in ROOT.glob(pattern)
)


def table_under(heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without its head."""
    _, _, after = (DOCS / "operations.md").read_text().partition(f"\n## {heading}\n")
    lines = [line for line in after.partition("\n## ")[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def status_of_two_members() -> ReplicaStatus:
    shards = {name: ShardStatus(1, 0, 7, 0, 1_000, 1_000) for name in ("sys", "usr")}
    members = tuple(
        MemberStatus(name, "alive", name == "a", 1, 1, {}, "zone", "1", 0, 0, shards) for name in ("a", "b")
    )
    totals = {name: Counts(1, 0, 10) for name in shards}
    tally = Tally()
    tally.rows_refused["clock_skew"] = tally.envelopes_refused["other_cluster"] = 1
    tally.conflicts["usr", "table"] = 1
    room = RoomStatus("ample", 0, 1, 2, (), ("b",))
    clock = ClockStatus(5, False, 1)
    return ReplicaStatus(
        Identity("c", "a", 1, 1), True, True, members, {}, totals, ("b",), (), {}, tally, room, clock, ()
    )


def labels_by_metric() -> dict[str, set[str]]:
    """Every metric of a member that has seen something of each kind, by the name that Prometheus queries."""
    metrics = Metrics()
    for instrument in vars(metrics).values():
        if isinstance(instrument, MetricWrapperBase) and instrument._labelnames:
            instrument.labels(*instrument._labelnames)
    bound = Bound("http_bodies_bytes_max", 1, "remedy")
    metrics.account_for(bound)
    metrics.observe_request("GET", "/livez", 200, 0.1)
    families = text_string_to_metric_families(metrics.render(status_of_two_members()).decode())
    return {
        family.name + ("_total" if family.type == "counter" else ""): {
            label for sample in family.samples for label in sample.labels
        }
        - {"le"}
        for family in families
    }


def test_every_metric_is_explained_with_its_labels_and_no_other_is() -> None:
    rows = table_under("Metrics")
    explained = {name.strip("`"): {label for label in labels.split(", ") if label} for name, labels, _ in rows}
    assert len(explained) == len(rows)
    assert explained == labels_by_metric()
    assert [name for name, _, meaning in rows if not meaning] == []


def test_metrics_that_the_text_names_are_there() -> None:
    named = set(re.findall(r"\bgossipkv_[a-z_]+", (DOCS / "operations.md").read_text()))
    assert named
    assert named - set(labels_by_metric()) == set()


def test_settings_worth_changing_are_settings() -> None:
    names = [name.strip("`") for row in table_under("Settings worth changing") for name in row[0].split(", ")]
    assert names
    assert set(names) <= {field.name for field in dataclasses.fields(Settings)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}, link
