"""Invariant 1 on real pods: a worker that runs a task is not removed, however the number of workers changes."""

from collections import Counter

import pytest

from tests.e2e.installed_operator import REMOVED_PODS, InstalledOperator
from tests.e2e.tenant import Body, Tenant


def test_idle_workers_are_removed_while_a_busy_worker_finishes(tenant: Tenant, operator: InstalledOperator) -> None:
    busy_before = operator.metric(REMOVED_PODS, state="busy")
    tenant.start_workers(4)
    task = Counter(tenant.publish_gated(1))
    tenant.until(lambda: tenant.receipts("started") == task, "the gated task runs")
    # Before that it may drain all four workers, and then undrain an idle one: the busy one would be removed instead.
    tenant.until(lambda: operator.unacked(tenant.taskqueue_key) == 1, "the operator has read the unacked message")
    tenant.patch({"scaling": {"minReplicas": 0}})
    tenant.until_replicas(lambda replicas: replicas == 1, "all idle workers are removed")
    tenant.until(lambda: len(tenant.pods()) == 1, "all idle worker pods are deleted")
    assert not tenant.receipts("done"), "the gated task still runs"
    tenant.open_gate()
    tenant.until_scaled_to_zero()
    assert tenant.receipts("done") == task
    assert tenant.receipts("started") == task
    assert operator.metric(REMOVED_PODS, state="busy") == busy_before


def test_a_lower_maximum_interrupts_no_task(tenant: Tenant, operator: InstalledOperator) -> None:
    tasks = tenant.start_gated_tasks(4)
    tenant.until(lambda: operator.unacked(tenant.taskqueue_key) == 4, "the operator has read the unacked messages")
    tenant.patch({"scaling": {"minReplicas": 0, "maxReplicas": 1}})
    tenant.until(lambda: len(tenant.draining()) >= 3, "all workers above the maximum drain")
    assert tenant.replicas() == 4
    tenant.open_gate()
    tenant.until_scaled_to_zero()
    assert tenant.receipts("done") == tasks
    assert tenant.receipts("started") == tasks


@pytest.mark.fault
@pytest.mark.exclusive
def test_an_operator_killed_while_workers_drain_interrupts_no_task(
    tenant: Tenant, fresh_operator: InstalledOperator
) -> None:
    tasks = tenant.start_gated_tasks(4)
    tenant.patch({"scaling": {"minReplicas": 0, "maxReplicas": 1}})
    tenant.until(tenant.drain_token, "workers drain")
    before = tenant.drain_token()
    fresh_operator.kill()
    tenant.until(lambda: tenant.drain_token() != before, "the restarted operator has replaced the fencing token")
    tasks += Counter(tenant.publish(3, seconds=1))
    tenant.open_gate()
    tenant.until(lambda: tenant.receipts("done") == tasks, "all tasks are done")
    tenant.until_scaled_to_zero()
    assert tenant.receipts("started") == tasks


def test_a_worker_behind_a_shell_that_ignores_sigterm_starts_no_task_once_its_pod_terminates(tenant: Tenant) -> None:
    # The shell is the first process of the container: only the shell receives the signal, and the kernel drops it.
    ignores_sigterm: Body = {"command": ["sh", "-c", "python -m taskqueue_worker; exit $?"], "taskTimeoutSeconds": 5}
    tenant.start_workers(1, ignores_sigterm)
    (pod,) = tenant.pods()
    tasks = Counter(tenant.publish(40, seconds=1.5))
    tenant.until(lambda: tenant.receipts("started"), "the first task runs")
    tenant.kubectl("delete", "pod", pod["metadata"]["name"], "--wait=false")
    tenant.until(lambda: tenant.receipts("done") == tasks, "all tasks are done")
    assert tenant.receipts("started") == tasks, "one was interrupted when the pod was killed, 35 s after its deletion"
