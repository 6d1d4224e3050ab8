"""A Deployment that its owner applied, on real pods: it is scaled, its workers are drained, and it stays as it is."""

from collections import Counter

from tests.e2e.application import MODULE_MOUNTS, MODULES_VOLUME, NAME, OPERATOR_SECRET
from tests.e2e.installed_operator import REMOVED_PODS, InstalledOperator
from tests.e2e.tenant import TASK_TIMEOUT_SECONDS, Body, Tenant

SHOP = "shop-worker"
LABEL = {"taskqueue.dev/name": NAME}


def shop(tenant: Tenant) -> Body:
    """The Deployment as docs/existing-deployments.md says, without replicas."""
    probe = {"port": 8080, "path": "/readyz"}
    container = {
        "name": "app",
        "image": tenant.image,
        "env": [
            *tenant.application.env,
            {"name": "TASKQUEUE_QUEUES", "value": NAME},
            {"name": "TASKQUEUE_NAME", "value": tenant.taskqueue_key},
            {"name": "TASKQUEUE_POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
            {"name": "TASKQUEUE_TASK_TIMEOUT_SECONDS", "value": str(TASK_TIMEOUT_SECONDS)},
        ],
        "readinessProbe": {"httpGet": probe, "periodSeconds": 1},
        "volumeMounts": MODULE_MOUNTS,
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    pod = {
        "terminationGracePeriodSeconds": TASK_TIMEOUT_SECONDS + 30,
        "containers": [container],
        "volumes": [MODULES_VOLUME],
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    }
    labels = {"app": "shop"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": SHOP, "labels": LABEL},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels | LABEL}, "spec": pod},
        },
    }


def refer(tenant: Tenant, **scaling: object) -> None:
    """Apply the TaskQueue whose workers are those of the Deployment."""
    spec = {
        "broker": {"secretRef": {"name": OPERATOR_SECRET}},
        "worker": {"deploymentRef": {"name": SHOP}, "taskTimeoutSeconds": TASK_TIMEOUT_SECONDS},
        "scaling": {
            "maxReplicas": 4,
            "idleSeconds": 2,
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 5}},
        }
        | scaling,
    }
    kind = {"apiVersion": "taskqueue.dev/v1alpha1", "kind": "TaskQueue"}
    tenant.apply_manifest(kind | {"metadata": {"name": NAME}, "spec": spec})


def template(tenant: Tenant) -> Body:
    spec: Body = (tenant.deployment() or {})["spec"]
    return {name: value for name, value in spec.items() if name != "replicas"}


def test_workers_of_a_deployment_of_others_are_drained_and_the_deployment_stays(
    tenant: Tenant, operator: InstalledOperator
) -> None:
    tenant.deployment_name = SHOP
    busy_before = operator.metric(REMOVED_PODS, state="busy")
    refer(tenant, minReplicas=3)
    tenant.until_reason("ScalingActive", "DeploymentNotFound")
    tenant.apply_manifest(shop(tenant))
    before = template(tenant)
    tenant.until(lambda: tenant.ready_replicas() == 3, "3 workers are ready")
    tenant.until_ready()
    task = Counter(tenant.publish_gated(1))
    tenant.until(lambda: tenant.receipts("started") == task, "the gated task runs")
    tenant.until(lambda: operator.unacked(tenant.taskqueue_key) == 1, "the operator has read the unacked message")
    tenant.patch({"scaling": {"minReplicas": 0}})
    tenant.until_replicas(lambda replicas: replicas == 1, "all idle workers are removed")
    assert not tenant.receipts("done"), "the gated task still runs"
    tenant.open_gate()
    tenant.until_scaled_to_zero()
    assert tenant.receipts("done") == tenant.receipts("started") == task
    assert operator.metric(REMOVED_PODS, state="busy") == busy_before
    assert template(tenant) == before
    tenant.delete()
    tenant.until_deleted()
    assert template(tenant) == before, "its owner deletes it"
