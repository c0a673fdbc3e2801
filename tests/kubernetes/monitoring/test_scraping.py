"""Every query of the dashboards and every alert, against a real Prometheus and three real members under load."""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from helm.gossipkv.mixin.dashboards import DIRECTORY
from tests.kubernetes.monitoring.alerting import rules
from tests.kubernetes.monitoring.prometheus import LABELLED, RELEASES, Prometheus, prometheus
from tests.processes.command import Command, free_ports, until

MEMBERS = ("gossipkv-0", "gossipkv-1", "gossipkv-2")
RATE_INTERVAL = "8s"
DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in sorted(DIRECTORY.glob("*.json"))}
PANELS = [
    (name, panel) for name, content in DASHBOARDS.items() for panel in content["panels"] if panel["type"] != "row"
]
QUERIES = [(name, panel["title"], target["expr"]) for name, panel in PANELS for target in panel["targets"]]
MAY_BE_EMPTY = {
    "Concurrent writes lost, by table": "a table is counted once it has lost a write, which need not happen"
}
VARIABLES = [
    (name, variable["definition"])
    for name, content in DASHBOARDS.items()
    for variable in content["templating"]["list"]
    if variable["type"] == "query"
]


class Load:
    """Writes, reads, deletes, and asks for what is not there, at each member in turn, until it is told to stop."""

    def __init__(self, ports: list[int]) -> None:
        self._ports = ports
        self._has_ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load")
        self.rounds = 0

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._has_ended.set()
        self._thread.join()

    def _run(self) -> None:
        connections = [HTTPConnection("127.0.0.1", port, timeout=10) for port in self._ports]
        while not self._has_ended.wait(0.02):
            connection = connections[self.rounds % len(connections)]
            row = f"/v1/usr/tables/flags/rows/row-{self.rounds % 500}"
            steps = [("PUT", row), ("GET", row), ("GET", "/v1/usr/tables/flags/rows/absent")]
            if self.rounds % 5 == 0:
                steps.append(("DELETE", row))
            for method, path in steps:
                connection.request(method, path, body=b"x" * 100 if method == "PUT" else None)
                connection.getresponse().read()
            self.rounds += 1
        for connection in connections:
            connection.close()


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that has seen three members under load for longer than a rate needs; the load goes on."""
    directory = tmp_path_factory.mktemp("monitoring")
    ports = free_ports(2 * len(MEMBERS))
    http_ports, gossip_ports = ports[::2], ports[1::2]
    commands = [
        _member(directory, name, http, gossip, gossip_ports)
        for name, http, gossip in zip(MEMBERS, http_ports, gossip_ports, strict=True)
    ]
    try:
        for command in commands:
            command.says("serving")
        with prometheus(directory, dict(zip(MEMBERS, http_ports, strict=True))) as server, Load(http_ports) as load:
            until(lambda: load.rounds > 300, "load has been put on")
            until(lambda: len(server.samples("count_over_time(gossipkv_ready[1h]) > 15")) == 6, "15 scrapes of each")
            until(lambda: len(server.samples("gossipkv_discovered_endpoints == 2")) == 6, "all know each other")
            yield server
    finally:
        for command in commands:
            command.end_for_sure()


def _member(directory: Path, name: str, http_port: int, gossip_port: int, gossip_ports: list[int]) -> Command:
    settings = {
        "member": name,
        "cluster": "shop.gossipkv",
        "zone": "a",
        "data-dir": directory / name,
        "http-port": http_port,
        "gossip-port": gossip_port,
        "peers": ",".join(f"http://127.0.0.1:{port}" for port in gossip_ports),
        "gossip-interval-ms": 200,
        "retry-ms-max": 1000,
    }
    flags = [text for flag, value in settings.items() for text in (f"--{flag}", str(value))]
    return Command(directory / f"{name}.log", "serve", *flags)


def substituted(text: str, release: dict[str, str]) -> str:
    """As Grafana does it; where a release has no such label, All is chosen."""
    values = {"cluster": ".*", **release, "pod": MEMBERS[1], "__rate_interval": RATE_INTERVAL}
    return re.sub(r"\$(\w+)", lambda match: values[match[1]], text)


def finite(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [sample for sample in samples if math.isfinite(float(sample["value"][1]))]


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release["job"])
def test_every_query_of_every_panel_returns_data(
    watched: Prometheus, release: dict[str, str], record_testsuite_property: Any
) -> None:
    empty = []
    for name, title, expression in QUERIES:
        asked = substituted(expression, release)
        if not finite(watched.samples(asked)):
            empty.append((name, title, asked))
    figures = f"{len(PANELS)} panels, {len(QUERIES)} queries, {len(QUERIES) - len(empty)} returned data"
    record_testsuite_property(f"dashboards of {release['job']}", figures)
    print(figures)  # noqa: T201 - the figures are what one runs this for
    assert len(QUERIES) >= len(PANELS) > 50
    assert [query for query in empty if query[1] not in MAY_BE_EMPTY] == []


def test_every_variable_offers_what_is_scraped(watched: Prometheus) -> None:
    for _, definition in VARIABLES:
        asked = re.fullmatch(r"label_values\((.+), (\w+)\)", substituted(definition, LABELLED))
        assert asked is not None, definition
        values = watched.ask(f"/api/v1/label/{asked[2]}/values", **{"match[]": asked[1]})
        expected = list(MEMBERS) if asked[2] == "pod" else [LABELLED[asked[2]]]
        assert values == expected, definition
    assert len(VARIABLES) == 7


def test_the_figures_of_a_release_do_not_count_in_those_of_another(watched: Prometheus) -> None:
    [scraped] = [expression for _, title, expression in QUERIES if title == "Members scraped"]
    for release in RELEASES:
        [sample] = watched.samples(substituted(scraped, release))
        assert sample["value"][1] == "3"


def test_no_alert_fires_in_a_healthy_cluster_under_load(watched: Prometheus) -> None:
    def evaluated() -> list[dict[str, Any]]:
        groups = watched.ask("/api/v1/rules")["groups"]
        return [rule for group in groups for rule in group["rules"] if rule["lastEvaluation"] > "0002"]

    until(lambda: len(evaluated()) == len(rules()), "all rules have been evaluated")
    assert [(rule["name"], rule["lastError"]) for rule in evaluated() if rule["health"] != "ok"] == []
    firing = [(rule["alert"], sample) for rule in rules() for sample in watched.samples(rule["expr"])]
    assert firing == []
