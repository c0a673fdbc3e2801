"""A real Prometheus that scrapes members as it would with the chart's ServiceMonitor, and its HTTP API.

Each member is scraped twice: as a release with a `cluster` label, and as one of another namespace without. What is true
of one must hold for the other, and neither may count in the other's figures.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import yaml

from tests.kubernetes.monitoring.alerting import ALERTS, tool
from tests.processes.command import DEADLINE_S, free_ports, until

LABELLED = {"cluster": "west", "namespace": "shop", "job": "gossipkv"}
UNLABELLED = {"namespace": "bare", "job": "flags-gossipkv"}
RELEASES = (LABELLED, UNLABELLED)


class Prometheus:
    """What its API answers."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    def ask(self, path: str, **parameters: str) -> Any:
        with urlopen(f"{self._url}{path}?{urlencode(parameters)}", timeout=DEADLINE_S) as answer:
            content = json.load(answer)
        assert content["status"] == "success", content
        return content["data"]

    def samples(self, expression: str) -> list[dict[str, Any]]:
        return list(self.ask("/api/v1/query", query=expression)["result"])

    def is_ready(self) -> bool:
        try:
            with urlopen(f"{self._url}/-/ready", timeout=DEADLINE_S) as answer:
                return bool(answer.status == 200)
        except (URLError, ConnectionError):
            return False


@contextmanager
def prometheus(directory: Path, ports: dict[str, int]) -> Iterator[Prometheus]:
    """One that scrapes members at these ports, by name, every second. It ends with the context."""
    config = directory / "prometheus.yml"
    config.write_text(yaml.safe_dump(_config(ports)))
    [port] = free_ports(1)
    with (directory / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                tool("prometheus"),
                f"--config.file={config}",
                f"--storage.tsdb.path={directory / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        server = Prometheus(port)
        until(lambda: process.poll() is not None or server.is_ready(), "Prometheus is ready")
        assert process.poll() is None, (directory / "prometheus.log").read_text()
        yield server
    finally:
        process.terminate()
        process.wait(DEADLINE_S)


def _config(ports: dict[str, int]) -> dict[str, Any]:
    return {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(ALERTS)],
        "scrape_configs": [
            {
                "job_name": release["job"],
                "static_configs": [
                    {"targets": [f"127.0.0.1:{port}"], "labels": {**release, "pod": name}}
                    for name, port in ports.items()
                ],
            }
            for release in RELEASES
        ],
    }
