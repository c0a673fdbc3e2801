"""The chart as `helm template` renders it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

CHART = Path(__file__).parents[2] / "helm/gossipkv"
VALUES = Path(__file__).parent / "values"
VALUES_FILES = sorted(path.stem for path in VALUES.glob("*.yaml"))
TOOLS_DEFAULT = "~/.cache/gossipkv-tools"

RELEASE, NAMESPACE = "kv", "store"
FULLNAME = "kv-gossipkv"
HEADLESS = f"{FULLNAME}-headless"
NO_VALUES: Mapping[str, Any] = MappingProxyType({})
SELECTOR = {"app.kubernetes.io/name": "gossipkv", "app.kubernetes.io/instance": RELEASE}

Object = dict[str, Any]


class Rendered(list[Object]):
    """The objects of a release, its hooks included."""

    def of(self, kind: str, name: str | None = None) -> list[Object]:
        return [each for each in self if each["kind"] == kind and name in (None, each["metadata"]["name"])]

    def only(self, kind: str, name: str | None = None) -> Object:
        found = self.of(kind, name)
        assert len(found) == 1, f"{len(found)} of kind {kind} {name or ''}"
        return found[0]

    @property
    def pod(self) -> Object:
        """The template of the members' pods."""
        template: Object = self.only("StatefulSet")["spec"]["template"]
        return template

    @property
    def container(self) -> Object:
        containers = self.pod["spec"]["containers"]
        found: Object = next(each for each in containers if each["name"] == "gossipkv")
        return found

    @property
    def environment(self) -> dict[str, Any]:
        """Values of variables, or where they come from."""
        return {each["name"]: each.get("value", each.get("valueFrom")) for each in self.container["env"]}

    @property
    def test_pod(self) -> Object:
        return self.only("Pod")


def helm() -> str:
    """Its path. A machine without it fails the tests."""
    tools = Path(os.environ.get("GOSSIPKV_TEST_TOOLS", TOOLS_DEFAULT)).expanduser()
    found = shutil.which("helm") or shutil.which("helm", path=str(tools / "bin"))
    assert found, f"helm is neither on PATH nor in {tools / 'bin'}: install Helm 4, or set GOSSIPKV_TEST_TOOLS"
    return found


def run_helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([helm(), *arguments], capture_output=True, text=True, timeout=60, check=False)


def values_file(name: str) -> Path:
    return VALUES / f"{name}.yaml"


def _template(
    files: Sequence[str], values: Mapping[str, Any], release: str, chart: Path
) -> subprocess.CompletedProcess[str]:
    arguments = [f"--values={values_file(name)}" for name in files]
    # As JSON, so that numbers and text stay what they are.
    arguments += [f"--set-json={name}={json.dumps(value)}" for name, value in values.items()]
    return run_helm("template", release, str(chart), f"--namespace={NAMESPACE}", *arguments)


def rendered_text(
    *files: str, values: Mapping[str, Any] = NO_VALUES, release: str = RELEASE, chart: Path = CHART
) -> str:
    """What helm makes of files in `values/` and of single values by their paths."""
    ended = _template(files, values, release, chart)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def rendered(
    *files: str, values: Mapping[str, Any] = NO_VALUES, release: str = RELEASE, chart: Path = CHART
) -> Rendered:
    text = rendered_text(*files, values=values, release=release, chart=chart)
    return Rendered(each for each in yaml.load_all(text, _UniqueKeys) if each)


def refusal(values: Mapping[str, Any]) -> str:
    """What helm says to values that it must not take."""
    ended = _template((), values, RELEASE, CHART)
    assert ended.returncode != 0, f"{dict(values)} was taken"
    return ended.stderr


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a key that is given twice, of which YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=deep) for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"a key is given twice: {keys}"
        return super().construct_mapping(node, deep=deep)
