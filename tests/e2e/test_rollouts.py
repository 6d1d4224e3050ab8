"""Everything else that sends SIGTERM, on real pods: a running task finishes, and the queue always has workers."""

import json

from tests.e2e.application import NAME
from tests.e2e.tenant import Body, Tenant

PROGRESS_DEADLINE_SECONDS = 5
"""Seconds without progress until a rollout is stuck; the default is ten minutes."""
WRONG_IMAGE = "localhost:1/acme/app:1.5"


def test_a_pod_deletion_an_eviction_and_a_rollout_let_every_task_finish(tenant: Tenant) -> None:
    tasks = tenant.start_gated_tasks(3)
    deleted, evicted, _ = tenant.pods()
    tenant.kubectl("delete", "pod", deleted["metadata"]["name"], "--wait=false")
    tenant.evict(evicted)
    tenant.until(lambda: tenant.ready_replicas() == 3, "two workers replace those that terminate")
    before = template_digest(tenant)
    env = [{"name": "TASKQUEUE_MODULES", "value": "audited"}, {"name": "COLOUR", "value": "green"}]
    tenant.patch({"worker": {"env": env}})
    tenant.until(lambda: template_digest(tenant) != before, "the Deployment has the new template")
    tenant.until(lambda: is_rolled_out(tenant), "three workers of the new template are ready, and never fewer")
    assert not tenant.receipts("done"), "the gated tasks still run"
    tenant.open_gate()
    tenant.until(lambda: len(tenant.pods()) == 3, "the old pods are deleted")
    assert tenant.receipts("done") == tenant.receipts("started") == tasks
    assert not tenant.interrupted()
    tenant.until(lambda: tenant.queues()["work"]["messages"] == 0, "the broker counts no message")


def test_in_a_stuck_rollout_idle_workers_are_removed_while_a_busy_worker_finishes(tenant: Tenant) -> None:
    tenant.apply(minReplicas=4, maxReplicas=4, readyPerReplica=1)
    tenant.until_ready()
    deadline: Body = {"spec": {"progressDeadlineSeconds": PROGRESS_DEADLINE_SECONDS}}
    tenant.kubectl("patch", "deployment", NAME, f"--patch={json.dumps(deadline)}")
    tenant.until(lambda: tenant.ready_replicas() == 4, "four workers are ready")
    tasks = dict.fromkeys(tenant.publish_gated(1), 1)
    tenant.until(lambda: tenant.receipts("started") == tasks, "the gated task runs")
    tenant.patch({"worker": {"image": WRONG_IMAGE}})
    tenant.until(lambda: progressing_reason(tenant) == "ProgressDeadlineExceeded", "the rollout is stuck")
    assert tenant.ready_replicas() == 4, "no old worker is removed before a new one is ready"
    tenant.patch({"scaling": {"minReplicas": 0}})
    tenant.until_replicas(lambda replicas: replicas < 4, "idle workers are removed")
    assert not tenant.receipts("done"), "the gated task still runs"
    tenant.open_gate()
    tenant.until_scaled_to_zero()
    assert tenant.receipts("done") == tenant.receipts("started") == tasks


def template_digest(tenant: Tenant) -> str:
    """Return the digest of the template that the Deployment has."""
    template = (tenant.deployment() or {})["spec"]["template"]
    return str(template["metadata"]["annotations"]["taskqueue.dev/template-digest"])


def is_rolled_out(tenant: Tenant) -> bool:
    """Return whether all workers have the newest template; fail if fewer than three are ready."""
    status = (tenant.deployment() or {})["status"]
    assert status.get("readyReplicas", 0) >= 3
    return bool(status.get("updatedReplicas", 0) == status["replicas"] == status["readyReplicas"] == 3)


def progressing_reason(tenant: Tenant) -> str:
    """Return the reason of the Deployment's condition Progressing."""
    conditions = (tenant.deployment() or {})["status"].get("conditions", [])
    return str(next((condition["reason"] for condition in conditions if condition["type"] == "Progressing"), ""))
