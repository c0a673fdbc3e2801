from __future__ import annotations

from tests.kubernetes.client_pod import ClientPod
from tests.kubernetes.kubectl import until
from tests.kubernetes.release import Release
from tests.kubernetes.summary import Summary


def test_rows_survive_the_deletion_of_each_pod_in_turn(release: Release, client: ClientPod, summary: Summary) -> None:
    rows: set[str] = set()
    for pod in sorted(release.ready_pods()):
        rows |= client.write("in-turn", (f"before {pod} {number}" for number in range(200)))
        took_s = release.replace(pod)
        rows |= client.write("in-turn", (f"while {pod} is new {number}" for number in range(200)))
        took_s += release.wait_converged(3)
        assert all(release.rows(each, "in-turn") == rows for each in release.ready_pods())
        summary.add("pods deleted in turn", f"{pod}: {took_s:.1f} s to a new pod and all equal")


def test_rows_survive_the_deletion_of_all_pods_at_once(release: Release, client: ClientPod, summary: Summary) -> None:
    rows = client.write("at-once", (f"row {number}" for number in range(500)))
    release.wait_converged(3)
    replicas = release.replica_ids()
    took_s = release.replace(*sorted(release.pods()))
    took_s += release.wait_converged(3)
    assert all(release.rows(pod, "at-once") == rows for pod in release.ready_pods())
    # Their volumes were kept.
    assert release.replica_ids() == replicas
    summary.add("pods deleted at once", f"{took_s:.1f} s until all are ready and equal, {len(rows)} rows kept")


def test_a_member_that_loses_its_volume_comes_back_as_a_new_replica_and_is_filled(
    release: Release, client: ClientPod, summary: Summary
) -> None:
    rows = client.write("volume", (f"row {number}" for number in range(500)))
    release.wait_converged(3)
    victim = f"{release.name}-1"
    replicas = release.replica_ids()
    claim = release.kubectl.get("persistentvolumeclaim", f"data-{victim}")["metadata"]["uid"]
    uid = release.pods()[victim]["metadata"]["uid"]
    release.kubectl("delete", "persistentvolumeclaim", f"data-{victim}", "--wait=false")
    release.kubectl("delete", "pod", victim, "--wait=false")

    def is_replaced() -> bool:
        pod = release.pods().get(victim)
        if pod is None or pod["metadata"]["uid"] == uid:
            return False
        # The new pod can be made before the old claim is gone; then it waits for ever for a claim that no one makes.
        if not release.kubectl("get", "persistentvolumeclaim", f"data-{victim}", "--ignore-not-found"):
            release.kubectl("delete", "pod", victim, "--wait=false")
            return False
        return bool(release.kubectl.get("persistentvolumeclaim", f"data-{victim}")["metadata"]["uid"] != claim)

    took_s = until(is_replaced, f"{victim} has a new volume") + release.wait_converged(3)
    after = release.replica_ids()
    assert after[victim] != replicas[victim]
    assert {pod: after[pod] for pod in after if pod != victim} == {pod: replicas[pod] for pod in after if pod != victim}
    assert release.rows(victim, "volume") == rows
    summary.add("volume deleted", f"a new replica, full again {took_s:.1f} s after the deletion")
