"""`make repository push` of deployment/aws, with stand-ins for its tools."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deployment.stand_ins import Tools

ROOT = Path(__file__).parents[2]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
DIGEST = "sha256:" + "a" * 64
REGISTRY = "111122223333.dkr.ecr.eu-central-1.amazonaws.com"


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of what the scripts read, where they may write."""
    copy = tmp_path / "sources"
    (copy / "helm" / "gossipkv").mkdir(parents=True)
    shutil.copy(ROOT / "helm" / "gossipkv" / "Chart.yaml", copy / "helm" / "gossipkv")
    shutil.copytree(ROOT / "deployment" / "aws", copy / "deployment" / "aws")
    (copy / "deployment" / "aws" / "image.env").unlink(missing_ok=True)
    return copy


@pytest.fixture
def tag(sources: Path) -> str:
    chart = (sources / "helm" / "gossipkv" / "Chart.yaml").read_text()
    (version,) = re.findall(r'^appVersion: "?([^"\n]+)"?$', chart, re.MULTILINE)
    return f"{version}-{COMMIT[:12]}"


def run(tools: Tools, sources: Path, script: str) -> subprocess.CompletedProcess[str]:
    tools.answer("rev-parse HEAD", COMMIT)
    tools.answer("sts get-caller-identity", "111122223333\n")
    return tools.run(sources / "deployment" / "aws" / script, {"REGION": "eu-central-1", "ECR_REPOSITORY": "gossipkv"})


def test_a_new_commit_is_pushed_under_a_tag_that_names_it_and_noted_by_its_digest(
    tools: Tools, sources: Path, tag: str
) -> None:
    image = f"{REGISTRY}/gossipkv:{tag}"
    tools.answer(f"imageTag={tag}", f"{DIGEST}\n", after=f"docker push {image}")
    tools.answer("describe-images", "ImageNotFoundException: not there", status=254)
    outcome = run(tools, sources, "push.sh")
    assert outcome.returncode == 0, outcome.stderr
    assert tools.index(f"docker build --platform linux/amd64 --tag {image} ") < tools.index(f"docker push {image}")
    noted = (sources / "deployment" / "aws" / "image.env").read_text()
    assert noted == f"IMAGE_REPOSITORY := {REGISTRY}/gossipkv\nIMAGE_DIGEST := {DIGEST}\n"


def test_a_commit_that_is_in_the_registry_is_not_built_again(tools: Tools, sources: Path, tag: str) -> None:
    tools.answer(f"imageTag={tag}", DIGEST)
    run(tools, sources, "push.sh")
    assert [call for call in tools.calls if call.startswith("docker")] == []


def test_without_a_digest_nothing_is_noted(tools: Tools, sources: Path) -> None:
    tools.answer("describe-images", "None\n")
    outcome = run(tools, sources, "push.sh")
    assert outcome.returncode == 1
    assert "gave no digest" in outcome.stderr
    assert not (sources / "deployment" / "aws" / "image.env").exists()


def test_changes_that_no_commit_names_are_not_pushed(tools: Tools, sources: Path) -> None:
    tools.answer("status --porcelain", " M gossipkv/cli.py\n")
    outcome = run(tools, sources, "push.sh")
    assert outcome.returncode == 1
    assert "commit them first" in outcome.stderr
    assert [call for call in tools.calls if not call.startswith("git")] == []


def test_a_repository_is_made_with_immutable_tags_and_scans(tools: Tools, sources: Path) -> None:
    tools.answer("describe-repositories", "RepositoryNotFoundException: not there", status=254)
    assert run(tools, sources, "repository.sh").returncode == 0
    made = tools.calls[tools.index("create-repository")]
    assert "--image-tag-mutability IMMUTABLE" in made
    assert "scanOnPush=true" in made


def test_a_repository_that_is_there_is_left_alone(tools: Tools, sources: Path) -> None:
    assert run(tools, sources, "repository.sh").returncode == 0
    assert [call for call in tools.calls if "create-repository" in call] == []


def test_without_permission_to_look_no_repository_is_made(tools: Tools, sources: Path) -> None:
    tools.answer("describe-repositories", "AccessDeniedException: no", status=254)
    outcome = run(tools, sources, "repository.sh")
    assert outcome.returncode == 1
    assert "AccessDeniedException" in outcome.stderr
    assert [call for call in tools.calls if "create-repository" in call] == []
