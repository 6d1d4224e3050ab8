"""Unmodified Celery on real pods: prefork workers on a queue that Celery declares, and on one of the operator."""

import json
from collections import Counter
from collections.abc import Sequence

import pytest

from tests.e2e.application import MODULE_MOUNTS, MODULES_VOLUME, Application, celery
from tests.e2e.installed_operator import InstalledOperator
from tests.e2e.tenant import TIMEOUT_SECONDS, Tenant

QUEUE = "celery"
WORKERS_SECRET = "workers"
"""The Secret of workers whose broker user is not the operator's."""


@pytest.fixture
def application(request: pytest.FixtureRequest) -> Application:
    found: Application = request.param
    return found


def publish_with_celery(tenant: Tenant, tasks: Sequence[tuple[float, str | None]]) -> list[str]:
    """Publish tasks (seconds, URL of a gate) with Celery itself, in a pod; return their ids."""
    code = f"from audited import audited; print(*[audited.delay(*task).id for task in {[*tasks]}])"
    container = {
        "name": "publisher",
        "image": tenant.image,
        "command": ["python", "-c", code],
        "env": [*tenant.application.env],
        "volumeMounts": MODULE_MOUNTS,
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    spec = {
        "restartPolicy": "Never",
        "containers": [container],
        "volumes": [MODULES_VOLUME],
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    }
    tenant.apply_manifest({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "publisher"}, "spec": spec})
    tenant.kubectl("wait", "pod/publisher", "--for=jsonpath={.status.phase}=Succeeded", f"--timeout={TIMEOUT_SECONDS}s")
    ids = tenant.kubectl("logs", "publisher").split()
    tenant.kubectl("delete", "pod", "publisher", "--wait=true")
    return ids


def consumer_count(tenant: Tenant) -> int:
    """Return the number of consumers of the queue, one for each pod."""
    return tenant.broker.consumer_count(tenant.namespace, QUEUE)


@pytest.mark.parametrize("application", [celery(QUEUE, declared=False)], indirect=True, ids=["external"])
def test_celery_scales_out_and_idle_workers_are_removed_while_a_busy_one_finishes(
    tenant: Tenant, operator: InstalledOperator
) -> None:
    tenant.apply(queue={"name": QUEUE, "external": True}, readyPerReplica=1)
    tenant.until(lambda: tenant.condition("Ready").get("status") == "False", "the queue does not exist yet")
    long, *short = publish_with_celery(tenant, [(0, tenant.gate), *[(5, None)] * 6])
    tenant.until_replicas(lambda replicas: replicas == 4, "the Deployment has a worker for each task, up to its limit")
    tenant.until(lambda: tenant.receipts("done") == Counter(short), "all tasks but the gated one are done")
    tenant.until_replicas(lambda replicas: replicas == 1, "all idle workers are removed")
    assert tenant.receipts("done") == Counter(short), "the gated task still runs"
    tenant.open_gate()
    tenant.until_scaled_to_zero()
    assert tenant.receipts("done") == tenant.receipts("started") == Counter([long, *short])
    tenant.until(
        lambda: operator.removed_pods(tenant.taskqueue_key)["idle"] >= 4, "the removed pods are recorded as idle"
    )
    assert not operator.removed_pods(tenant.taskqueue_key)["busy"]


@pytest.mark.parametrize(
    "application", [celery(QUEUE, declared=True, credentials=WORKERS_SECRET)], indirect=True, ids=["declared"]
)
def test_celery_workers_of_another_user_are_not_removed_until_the_operator_may_monitor_them(tenant: Tenant) -> None:
    tenant.use_credentials(f"{tenant.namespace}-workers", "own", secret=WORKERS_SECRET)
    tenant.apply(queue={"name": QUEUE}, minReplicas=2, maxReplicas=2)
    tenant.until_ready()
    tenant.until(lambda: consumer_count(tenant) == 2, "two workers consume")
    (task,) = publish_with_celery(tenant, [(1, None)])
    tenant.until(lambda: tenant.receipts("done") == Counter([task]), "the task is done")
    tenant.patch({"scaling": {"minReplicas": 0}})
    tenant.until(
        lambda: "monitoring" in idleness_unknown(tenant), "the condition names the tag that the operator's user lacks"
    )
    assert tenant.replicas() == 2
    tenant.broker.put_tags(tenant.namespace, "first", "policymaker,monitoring")
    tenant.until_scaled_to_zero()
    assert tenant.receipts("done") == tenant.receipts("started") == Counter([task])


@pytest.mark.parametrize(
    "application", [celery(QUEUE, declared=True, credentials=WORKERS_SECRET)], indirect=True, ids=["rotated"]
)
def test_new_credentials_of_celery_workers_need_a_rollout_restart_and_nothing_else(tenant: Tenant) -> None:
    old, new = f"{tenant.namespace}-old", f"{tenant.namespace}-new"
    tenant.use_credentials(old, "own", secret=WORKERS_SECRET)
    tenant.apply(queue={"name": QUEUE}, minReplicas=1, maxReplicas=1)
    tenant.until(lambda: consumer_count(tenant) == 1, "a worker consumes")
    tenant.use_credentials(new, "own", secret=WORKERS_SECRET)
    tenant.kubectl("rollout", "restart", "deployment/work")
    tenant.kubectl("rollout", "status", "deployment/work", "--timeout=120s")
    tenant.broker.delete_user(old)
    (task,) = publish_with_celery(tenant, [(1, None)])
    tenant.until(lambda: tenant.receipts("done") == Counter([task]), "the task is done")


def idleness_unknown(tenant: Tenant) -> str:
    """Return the condition ScalingActive as JSON if its reason is IdlenessUnknown, else an empty text."""
    condition = tenant.condition("ScalingActive")
    return json.dumps(condition) if condition.get("reason") == "IdlenessUnknown" else ""
