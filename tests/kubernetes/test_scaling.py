from __future__ import annotations

from tests.kubernetes.client_pod import ClientPod
from tests.kubernetes.kubectl import until
from tests.kubernetes.release import Release
from tests.kubernetes.summary import Summary


def test_scaling_restarts_no_one_fills_the_new_and_lets_go_of_the_departed(
    release: Release, client: ClientPod, summary: Summary
) -> None:
    rows = client.write("scale", (f"row {number}" for number in range(2_000)))
    release.wait_converged(3)
    before = release.lives()
    release.scale(5)
    added = {f"{release.name}-3", f"{release.name}-4"}
    seen: set[str] = set()

    def are_ready() -> bool:
        for pod in added & set(release.ready_pods()) - seen:
            assert release.rows(pod, "scale") == rows, f"{pod} was ready before it was full"
            seen.add(pod)
        return seen == added

    took_s = until(are_ready, "two more members are ready")
    converged_s = release.wait_converged(5)
    assert {pod: life for pod, life in release.lives().items() if pod in before} == before
    summary.add("scale 3 to 5", f"new members ready and full after {took_s:.1f} s, 5 equal {converged_s:.1f} s later")

    release.scale(2)
    departed = added | {f"{release.name}-2"}
    until(lambda: not departed & set(release.pods()), "three pods are gone")
    let_go_s = until(lambda: _have_let_go(release, departed), "the departed are let go", 60.0)
    assert release.lives() == {pod: before[pod] for pod in (f"{release.name}-0", f"{release.name}-1")}
    assert all(release.rows(pod, "scale") == rows for pod in release.ready_pods())
    summary.add("scale 5 to 2", f"departed members let go {let_go_s:.1f} s after their pods were gone; none restarted")

    release.scale(3)
    summary.add("scale 2 to 3", f"3 equal after {release.wait_converged(3):.1f} s")


def _have_let_go(release: Release, departed: set[str]) -> bool:
    views = release.views()
    return len(views) == 2 and all(
        view[name]["status"] == "left" for view in views.values() for name in departed if name in view
    )
