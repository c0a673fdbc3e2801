"""The cluster that scenarios run on: one that the tests have started, or one that they were given."""

from __future__ import annotations

from dataclasses import dataclass

from tests.kubernetes.cluster.cluster import Cluster


@dataclass(frozen=True, slots=True)
class ClusterUnderTest:
    """`image` is a reference that its node can resolve. `own` is None where the cluster was given."""

    kubeconfig: str
    image: str
    own: Cluster | None
