"""What the scenarios share: one image, one cluster, one release, and a summary of what was measured.

With `KUBECONFIG` and `GOSSIPKV_TEST_IMAGE` in the environment nothing is built or started: the scenarios run on that
cluster, which must be able to pull the image. The tests of the image and those that stop the API server are then left
out, as the summary says.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from tests.kubernetes.client_pod import ClientPod
from tests.kubernetes.cluster.cluster import Cluster
from tests.kubernetes.cluster.image import build_image, version
from tests.kubernetes.cluster_under_test import ClusterUnderTest
from tests.kubernetes.kubectl import Kubectl
from tests.kubernetes.release import Release
from tests.kubernetes.summary import Summary

_SUMMARY = pytest.StashKey[Summary]()
_LEFT_OUT = pytest.StashKey[list[str]]()
_NAMESPACES = pytest.StashKey[list[Kubectl]]()
"""Those that scenarios have made."""
_TIMEOUT_S = 900
_TIMEOUT_WITH_BUILDS_S = 2700
_MEMBERS = 3


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "controls_cluster: stops parts of the cluster, so it must be one of the tests' own"
    )
    config.stash[_SUMMARY] = Summary()
    config.stash[_LEFT_OUT] = []
    config.stash[_NAMESPACES] = []


def _is_given() -> bool:
    return bool(os.environ.get("KUBECONFIG") and os.environ.get("GOSSIPKV_TEST_IMAGE"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    is_first = True
    for item in items:
        if {"image_archive", "cluster_under_test"} & set(getattr(item, "fixturenames", ())):
            # The first one waits for tools, image and cluster.
            item.add_marker(pytest.mark.timeout(_TIMEOUT_WITH_BUILDS_S if is_first else _TIMEOUT_S))
            is_first = False
    if _is_given():
        left_out = [item for item in items if _needs_this_machine(item)]
        config.stash[_LEFT_OUT] = [item.nodeid for item in left_out]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def _needs_this_machine(item: pytest.Item) -> bool:
    return (
        "image_archive" in getattr(item, "fixturenames", ()) or item.get_closest_marker("controls_cluster") is not None
    )


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    lines = config.stash[_SUMMARY].lines()
    lines += [f"not run on this cluster: {name}" for name in config.stash[_LEFT_OUT]]
    if lines:
        terminalreporter.section("measured")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed scenario comes with what the cluster says of each namespace it could have used."""
    report = yield
    if report.failed:
        for kubectl in item.config.stash[_NAMESPACES]:
            report.sections.append((f"namespace {kubectl.namespace}", kubectl.account()))
    return report


@pytest.fixture(scope="session")
def summary(pytestconfig: pytest.Config) -> Summary:
    return pytestconfig.stash[_SUMMARY]


@pytest.fixture(scope="session")
def say(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Tells how far a long step has come, past what pytest captures."""
    reporter = pytestconfig.pluginmanager.get_plugin("terminalreporter")
    capture = pytestconfig.pluginmanager.get_plugin("capturemanager")

    def say(line: str) -> None:
        if reporter is not None and capture is not None:
            with capture.global_and_fixture_disabled():
                reporter.write_line(line)

    return say


@pytest.fixture(scope="session")
def image_archive(tmp_path_factory: pytest.TempPathFactory, say: Callable[[str], None], summary: Summary) -> Path:
    def told(line: str) -> None:
        say(line)
        summary.add("build", line)

    return build_image(f"gossipkv:{version()}", tmp_path_factory.mktemp("images"), told)


@pytest.fixture(scope="session")
def cluster_under_test(request: pytest.FixtureRequest, say: Callable[[str], None]) -> Iterator[ClusterUnderTest]:
    if _is_given():
        yield ClusterUnderTest(os.environ["KUBECONFIG"], os.environ["GOSSIPKV_TEST_IMAGE"], None)
        return
    archive: Path = request.getfixturevalue("image_archive")
    cluster = Cluster.up(None, say, ends_with_caller=True)
    try:
        cluster.load_image(archive)
        yield ClusterUnderTest(str(cluster.kubeconfig), f"gossipkv:{version()}", cluster)
    finally:
        cluster.down()


@pytest.fixture(scope="session")
def namespaces(pytestconfig: pytest.Config, cluster_under_test: ClusterUnderTest) -> Iterator[Callable[[], Kubectl]]:
    """Makes namespaces under the restricted standard. They are gone afterwards, with all that is in them."""
    made = pytestconfig.stash[_NAMESPACES]

    def make() -> Kubectl:
        kubectl = Kubectl(cluster_under_test.kubeconfig, f"gossipkv-test-{uuid.uuid4().hex[:8]}")
        made.append(kubectl)
        kubectl.create_namespace()
        return kubectl

    yield make
    if cluster_under_test.own is None:
        for kubectl in made:
            kubectl("delete", "namespace", kubectl.namespace, "--ignore-not-found", timeout_s=300.0)


@pytest.fixture(scope="session")
def shared_release(
    cluster_under_test: ClusterUnderTest, namespaces: Callable[[], Kubectl], summary: Summary
) -> Release:
    """Three members, as the chart's own values make them."""
    release = Release(namespaces(), "gossipkv", cluster_under_test.image)
    took_s = release.install()
    summary.add("install", f"{took_s:.1f} s from `helm install` to {_MEMBERS} members ready")
    ClientPod(release).start()
    return release


@pytest.fixture
def release(shared_release: Release) -> Release:
    """The shared release, as a scenario may expect it: three members that hold the same."""
    shared_release.wait_converged(_MEMBERS)
    return shared_release


@pytest.fixture
def client(release: Release) -> ClientPod:
    return ClientPod(release)
