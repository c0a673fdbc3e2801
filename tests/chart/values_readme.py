"""The chart's README, written from the comments of its values.yaml by `python -m tests.chart.values_readme`.

The comment right above a key documents its value, and `## ` begins a section. A key without a comment is a group of
documented values, or a part of the documented value that contains it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parents[2] / "helm/gossipkv"
VALUES = CHART / "values.yaml"
README = CHART / "README.md"

_KEY = re.compile(r"(?P<indent> *)(?P<key>[A-Za-z]+):")

_HEAD = """# Helm chart of gossipkv

<!-- Written by `python -m tests.chart.values_readme` from values.yaml; a test holds the two in step. -->

The chart installs a StatefulSet of members that all hold the whole store, a Service for clients, and what members need
to find each other. It needs Kubernetes 1.30 or newer.

```console
$ helm install gossipkv helm/gossipkv --namespace gossipkv --create-namespace
$ helm test gossipkv --namespace gossipkv        # writes on one member, reads on another
$ helm upgrade gossipkv helm/gossipkv --namespace gossipkv --reset-then-reuse-values --set replicaCount=5
```

| object | created |
| --- | --- |
| StatefulSet, Service, headless Service | always |
| ServiceAccount, PodDisruptionBudget | unless switched off |
| Role (get, list and watch EndpointSlices), RoleBinding | unless switched off, or `discovery.kind` is `dns` |
| Ingress, HTTPRoute, NetworkPolicy | if switched on |
| ServiceMonitor, PrometheusRule, ConfigMaps with dashboards | if switched on |

An unknown or invalid value is refused by its name before anything is installed (values.schema.json). All pods meet the
restricted Pod Security Standard. The chart creates no Secrets, it only names existing ones: `image.pullSecrets`,
`ingress.tls`, `extraEnvFrom`.
"""


@dataclass(frozen=True, slots=True)
class Documented:
    section: str
    path: tuple[str, ...]
    text: str


def documented_values(source: str) -> Iterator[Documented]:
    """Yield the documented values of a values file, in its order."""
    section = ""
    comment: list[str] = []
    path: list[str] = []
    for line in source.splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        elif line.lstrip().startswith("#"):
            comment.append(line.lstrip().removeprefix("#").strip())
        elif match := _KEY.match(line):
            path[len(match["indent"]) // 2 :] = [match["key"]]
            if comment:
                yield Documented(section, tuple(path), " ".join(comment))
            comment = []
        else:
            comment = []


def value_at(values: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        values = values[key]
    return values


def readme_of(source: str) -> str:
    values = yaml.safe_load(source)
    lines = [_HEAD]
    section = ""
    for each in documented_values(source):
        if each.section != section:
            section = each.section
            lines.append(f"\n## {section}\n\n| value | default | meaning |\n| --- | --- | --- |\n")
        default = json.dumps(value_at(values, each.path), ensure_ascii=False)
        assert "|" not in default + each.text, "a bar ends a cell of a table"
        lines.append(f"| `{'.'.join(each.path)}` | `{default}` | {each.text} |\n")
    return "".join(lines)


if __name__ == "__main__":
    README.write_text(readme_of(VALUES.read_text()))
