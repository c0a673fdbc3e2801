"""deployment/aws/cluster.yaml says what its README says, and agrees with the files around it.

This does not validate the file against eksctl's schema, which is not in this repository: `make check` there has eksctl
do that.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

AWS = Path(__file__).parents[2] / "deployment" / "aws"


@pytest.fixture
def cluster() -> dict[str, Any]:
    content = yaml.safe_load((AWS / "cluster.yaml").read_text())
    assert isinstance(content, dict)
    assert (content["apiVersion"], content["kind"]) == ("eksctl.io/v1alpha5", "ClusterConfig")
    return content


def make_variable(name: str) -> str:
    (value,) = re.findall(rf"^{name} \?= (.+)$", (AWS / "Makefile").read_text(), re.MULTILINE)
    return str(value)


def addon(cluster: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [each for each in cluster["addons"] if each["name"] == name]
    return dict(found)


def test_the_makefile_speaks_of_the_same_cluster_and_region(cluster: dict[str, Any]) -> None:
    assert cluster["metadata"]["name"] == make_variable("CLUSTER")
    assert cluster["metadata"]["region"] == make_variable("REGION")


def test_each_of_three_zones_has_a_node_group_of_its_own(cluster: dict[str, Any]) -> None:
    zones = cluster["availabilityZones"]
    assert len(set(zones)) == 3
    assert all(zone.startswith(cluster["metadata"]["region"]) for zone in zones)
    assert [group["availabilityZones"] for group in cluster["managedNodeGroups"]] == [[zone] for zone in zones]
    assert len({group["name"] for group in cluster["managedNodeGroups"]}) == 3


def test_node_groups_differ_in_name_and_zone_alone(cluster: dict[str, Any]) -> None:
    rest = [
        {key: value for key, value in group.items() if key not in ("name", "availabilityZones")}
        for group in cluster["managedNodeGroups"]
    ]
    assert rest[0] == rest[1] == rest[2]


def test_nodes_are_private_encrypted_and_without_ssh(cluster: dict[str, Any]) -> None:
    for group in cluster["managedNodeGroups"]:
        assert group["privateNetworking"] is True
        assert group["volumeEncrypted"] is True
        assert "ssh" not in group


def test_volumes_are_made_by_a_driver_whose_permissions_come_by_pod_identity(cluster: dict[str, Any]) -> None:
    assert addon(cluster, "aws-ebs-csi-driver")["useDefaultPodIdentityAssociations"] is True
    assert addon(cluster, "eks-pod-identity-agent")


def test_network_policies_are_enforced_where_they_are_installed(cluster: dict[str, Any]) -> None:
    assert json.loads(addon(cluster, "vpc-cni")["configurationValues"]) == {"enableNetworkPolicy": "true"}
    assert yaml.safe_load((AWS / "values-eks.yaml").read_text())["networkPolicy"]["enabled"] is True


def test_the_load_balancer_controller_runs_as_the_account_that_has_its_role(cluster: dict[str, Any]) -> None:
    (association,) = cluster["iam"]["podIdentityAssociations"]
    assert association["wellKnownPolicies"] == {"awsLoadBalancerController": True}
    makefile = (AWS / "Makefile").read_text()
    assert f"serviceAccount.name={association['serviceAccountName']} " in makefile
    assert f"--namespace {association['namespace']} " in makefile


def test_the_storage_class_is_encrypted_gp3_in_the_zone_of_the_pod_and_the_one_installed() -> None:
    storage_class = yaml.safe_load((AWS / "storage-class.yaml").read_text())
    assert storage_class["provisioner"] == "ebs.csi.aws.com"
    assert storage_class["parameters"]["type"] == "gp3"
    assert storage_class["parameters"]["encrypted"] == "true"
    assert storage_class["volumeBindingMode"] == "WaitForFirstConsumer"
    assert storage_class["allowVolumeExpansion"] is True
    installed = yaml.safe_load((AWS / "values-eks.yaml").read_text())["persistence"]["storageClassName"]
    assert installed == storage_class["metadata"]["name"]


def test_the_load_balancer_is_internal_and_reaches_pods_by_address() -> None:
    service = yaml.safe_load((AWS / "values-nlb.yaml").read_text())["service"]
    prefix = "service.beta.kubernetes.io/aws-load-balancer-"
    assert service["type"] == "LoadBalancer"
    assert service["annotations"][f"{prefix}scheme"] == "internal"
    assert service["annotations"][f"{prefix}nlb-target-type"] == "ip"
