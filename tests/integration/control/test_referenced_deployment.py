"""A Deployment of others on a real API server: what is said of it, and what is written to it."""

import json
from typing import Any

from taskqueue_operator.resource.names import LABEL_NAME, MANAGER
from tests.integration.harness.eventually import eventually
from tests.integration.harness.tenant import Tenant

AUTOSCALER = {
    "apiVersion": "autoscaling/v2",
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "shop"},
    "spec": {"maxReplicas": 9, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"}},
}


def shop(labels: dict[str, str]) -> dict[str, Any]:
    """The Deployment as a chart contains it, without replicas."""
    pod = {"terminationGracePeriodSeconds": 900, "containers": [{"name": "app", "image": "acme/shop:1"}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "shop", "labels": labels},
        "spec": {
            "selector": {"matchLabels": {"app": "shop"}},
            "template": {"metadata": {"labels": {"app": "shop"} | labels}, "spec": pod},
        },
    }


def apply(tenant: Tenant, body: dict[str, Any]) -> None:
    tenant.kubectl("apply", "--server-side", "--field-manager=helm", "-f", "-", text=json.dumps(body))


def fields_of_the_operator(deployment: dict[str, Any]) -> set[str]:
    """The fields that it owns, as paths."""
    entries = deployment["metadata"]["managedFields"]
    owned = [entry["fieldsV1"] for entry in entries if entry["manager"] == MANAGER]
    return {f"{part}.{name}" for tree in owned for part, fields in tree.items() for name in fields}


def test_it_is_scaled_once_it_exists_is_labeled_and_has_no_other_autoscaler(tenant: Tenant) -> None:
    tenant.secret()

    def reason() -> str | None:
        return tenant.condition("jobs", "ScalingActive").get("reason")

    worker = {"deploymentRef": {"name": "shop"}, "protocol": "Plain"}
    tenant.taskqueue("jobs", worker=worker, scaling={"maxReplicas": 5, "readyPerReplica": 1})
    eventually(reason, "DeploymentNotFound")
    tenant.kubectl("apply", "-f", "-", text=json.dumps(AUTOSCALER))
    apply(tenant, shop({}))
    eventually(reason, "DeploymentNotLabeled")
    apply(tenant, shop({LABEL_NAME: "jobs"}))
    eventually(reason, "TargetConflict")
    tenant.publish("jobs", "jobs", 3)
    eventually(lambda: tenant.get("taskqueue", "jobs")["status"].get("backlog", {}).get("ready"), 3)
    assert tenant.replicas("shop") == 1
    tenant.kubectl("delete", "hpa", "shop")
    eventually(lambda: tenant.replicas("shop"), 3)
    deployment = tenant.get("deployment", "shop")
    assert fields_of_the_operator(deployment) == {"f:spec.f:replicas"}
    assert not tenant.get("deployment", "jobs")
    apply(tenant, shop({LABEL_NAME: "jobs"}))
    assert tenant.replicas("shop") == 3, "a chart without replicas leaves them alone"
    tenant.kubectl("delete", "taskqueue", "jobs", "--timeout=120s")
    assert tenant.replicas("shop") == 3
