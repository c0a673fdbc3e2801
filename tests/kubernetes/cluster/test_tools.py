from __future__ import annotations

from pathlib import Path

import pytest

from tests.kubernetes.cluster import tools
from tests.kubernetes.cluster.tools import Tools


def _say_nothing(_: str) -> None:
    """Nobody reads along."""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    """A cache to be filled with the pause program alone, which takes no Go."""
    monkeypatch.setattr(tools, "_PROGRAMS", ())
    monkeypatch.setattr(tools, "_DEFINITIONS", ())
    return Tools(tmp_path / "cache")


def test_what_is_missing_is_built_and_what_is_there_is_not(cache: Tools) -> None:
    said: list[str] = []
    cache.build_missing(said.append)
    assert len(said) == 2
    assert cache.pause.stat().st_mode & 0o111
    said.clear()
    cache.build_missing(said.append)
    assert said == []


def test_another_version_is_built_anew(cache: Tools) -> None:
    cache.build_missing(_say_nothing)
    (cache.directory / "versions" / "pause").write_text("another\n", encoding="utf-8")
    said: list[str] = []
    cache.build_missing(said.append)
    assert len(said) == 2


def test_the_cache_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOSSIPKV_TEST_TOOLS", str(tmp_path))
    assert Tools.default().binary("helm") == tmp_path / "bin" / "helm"
