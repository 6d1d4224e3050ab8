"""`protocol: Plain` on real pods: the operator derives idleness from the broker."""

from collections import Counter

from tests.e2e.installed_operator import InstalledOperator
from tests.e2e.tenant import Body, Tenant

ACKS_LATE: Body = {"protocol": "Plain", "acksLate": True}
ACKS_EARLY: Body = {"protocol": "Plain"}


def start_four_workers_and_one_task(tenant: Tenant, worker: Body) -> Counter[str]:
    """Start four workers, one of them with a gated task; return the id of the task."""
    tenant.start_workers(4, worker)
    task = Counter(tenant.publish_gated(1))
    tenant.until(lambda: tenant.receipts("started") == task, "the gated task runs")
    return task


def test_idle_workers_are_removed_while_a_busy_worker_finishes(tenant: Tenant, operator: InstalledOperator) -> None:
    task = start_four_workers_and_one_task(tenant, ACKS_LATE)
    tenant.patch({"scaling": {"minReplicas": 0}})
    tenant.until_replicas(lambda replicas: replicas == 1, "all idle workers are removed")
    assert not tenant.receipts("done"), "the gated task still runs"
    tenant.open_gate()
    tenant.until_scaled_to_zero()
    assert tenant.receipts("done") == tenant.receipts("started") == task
    tenant.until(
        lambda: operator.removed_pods(tenant.taskqueue_key)["idle"] >= 4, "the removed pods are recorded as idle"
    )
    assert not operator.removed_pods(tenant.taskqueue_key)["busy"]


def test_without_acks_late_workers_are_removed_one_by_one_and_finish_their_tasks(tenant: Tenant) -> None:
    task = start_four_workers_and_one_task(tenant, ACKS_EARLY)
    tenant.until_reason("ScalingActive", "IdlenessUnknown")
    tenant.patch({"scaling": {"minReplicas": 0}})
    tenant.until_replicas(lambda replicas: replicas < 4, "the first worker is removed")
    tenant.until_replicas(lambda replicas: replicas == 1, "one worker is left for the running task")
    assert not tenant.receipts("done"), "the gated task still runs"
    tenant.open_gate()
    tenant.until_scaled_to_zero()
    assert tenant.receipts("done") == tenant.receipts("started") == task
