"""The steps of deployment/local and deployment/aws: `make -n` takes each of them, and their README names them."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

DEPLOYMENT = Path(__file__).parents[2] / "deployment"
PLACES = ("local", "aws")


def targets_of(place: str) -> list[str]:
    (phony,) = re.findall(r"^\.PHONY: (.*)$", (DEPLOYMENT / place / "Makefile").read_text(), re.MULTILINE)
    return str(phony).split()


def dry_run(place: str, *arguments: str, **environment: str) -> str:
    """What make would do. Raises AssertionError with its words if it would not."""
    outcome = subprocess.run(
        ["make", "--dry-run", "--warn-undefined-variables", *arguments],
        cwd=DEPLOYMENT / place,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr
    assert not outcome.stderr, outcome.stderr
    return outcome.stdout


@pytest.mark.parametrize(("place", "target"), [(place, target) for place in PLACES for target in targets_of(place)])
def test_make_knows_every_step_and_all_its_variables(place: str, target: str) -> None:
    assert dry_run(place, target, "IMAGE_REPOSITORY=registry.example/gossipkv", "IMAGE_DIGEST=sha256:0").strip()


@pytest.mark.parametrize("place", PLACES)
def test_every_step_has_a_line_of_help_and_is_explained(place: str) -> None:
    directory = DEPLOYMENT / place
    explained = re.findall(r"^([a-z-]+):.* ## .+$", (directory / "Makefile").read_text(), re.MULTILINE)
    assert sorted(explained) == sorted(targets_of(place))
    readme = (directory / "README.md").read_text()
    assert [target for target in targets_of(place) if target not in readme] == []


@pytest.mark.parametrize("place", PLACES)
def test_files_that_steps_name_are_there(place: str) -> None:
    text = (DEPLOYMENT / place / "Makefile").read_text()
    named = set(re.findall(r"(?<![\w/])[a-z-]+\.(?:yaml|sh)\b", text))
    assert named
    assert [name for name in sorted(named) if not (DEPLOYMENT / place / name).is_file()] == []


def test_every_step_on_minikube_names_its_own_cluster() -> None:
    for target in targets_of("local"):
        for command in re.findall(r"^(?:kubectl|helm|minikube)\b.*$", dry_run("local", target), re.MULTILINE):
            assert re.search(r"--(?:kube-)?(?:context|profile) gossipkv\b", command), command


def test_every_step_on_eks_uses_the_file_that_knows_its_own_cluster_alone() -> None:
    said = dry_run("aws", "cluster", KUBECONFIG="/somewhere/else")
    assert f"--kubeconfig {DEPLOYMENT / 'aws' / 'kubeconfig'}" in said


def test_what_is_installed_on_minikube_is_the_image_that_was_built() -> None:
    chart = (DEPLOYMENT.parent / "helm" / "gossipkv" / "Chart.yaml").read_text()
    (version,) = re.findall(r'^appVersion: "?([^"\n]+)"?$', chart, re.MULTILINE)
    assert f"--tag gossipkv:{version} " in dry_run("local", "image")


def test_an_image_is_installed_on_eks_by_digest() -> None:
    said = dry_run("aws", "install", "IMAGE_REPOSITORY=registry.example/gossipkv", "IMAGE_DIGEST=sha256:0")
    assert "--set image.repository=registry.example/gossipkv --set image.digest=sha256:0" in said


def test_values_files_are_added_in_the_order_given() -> None:
    said = dry_run(
        "aws", "install", "VALUES=values-strict-zones.yaml values-nlb.yaml", "IMAGE_REPOSITORY=r", "IMAGE_DIGEST=d"
    )
    assert "--values values-eks.yaml --values values-strict-zones.yaml --values values-nlb.yaml" in said
