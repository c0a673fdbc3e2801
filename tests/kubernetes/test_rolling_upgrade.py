from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kubernetes.client_pod import WriteLoad, figures
from tests.kubernetes.cluster_under_test import ClusterUnderTest
from tests.kubernetes.kubectl import Kubectl
from tests.kubernetes.release import Release
from tests.kubernetes.summary import Summary

_PREVIOUS = sorted((Path(__file__).parent / "previous").glob("gossipkv-*.tgz"))
_WRITES_MIN = 500


def test_there_is_a_previous_version_to_upgrade_from() -> None:
    assert _PREVIOUS


@pytest.mark.parametrize("chart", _PREVIOUS, ids=lambda chart: chart.stem)
def test_a_rolling_upgrade_under_write_load_loses_no_acknowledged_write(
    cluster_under_test: ClusterUnderTest, namespaces: Callable[[], Kubectl], summary: Summary, chart: Path
) -> None:
    release = Release(namespaces(), "gossipkv", cluster_under_test.image)
    release.install(chart=chart)
    release.wait_converged(3)
    before = release.lives()
    load = WriteLoad(release, "upgrade")
    load.start()
    # The annotation has every pod replaced, even where the two charts make the same pod.
    took_s = release.upgrade("podAnnotations.example\\.com/revision=next")
    account = load.stop()
    converged_s = release.wait_converged(3)
    lost: set[str] = set().union(*(load.lost(account, pod) for pod in release.ready_pods()))
    told = f"from {chart.stem} in {took_s:.1f} s, all equal {converged_s:.1f} s after the last write"
    summary.add("rolling upgrade", f"{told}; {figures(account, len(lost))}")
    assert not set(before.values()) & set(release.lives().values()), "not every pod was replaced"
    assert account["acknowledged"] >= _WRITES_MIN
    assert not lost
    release.uninstall()
