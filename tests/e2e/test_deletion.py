"""Invariants 4 and 8 on real parts: what each deletionPolicy keeps, and that a deletion ends."""

from collections import Counter

import pytest

from taskqueue_worker import PublishFailedError
from tests.e2e.tenant import Tenant


def test_retain_keeps_queue_and_messages_for_a_new_taskqueue(tenant: Tenant) -> None:
    tenant.apply(deletion="Retain", mode="Paused", pausedReplicas=0)
    tenant.until_ready()
    tasks = Counter(tenant.publish(5, seconds=0))
    tenant.delete()
    tenant.until_deleted()
    tenant.until(lambda: tenant.deployment() is None, "the Deployment is deleted")
    tenant.until(lambda: tenant.queues()["work"]["messages"] == 5, "the broker's totals are current")
    assert "work" in tenant.broker.exchanges(tenant.namespace)

    tenant.apply()
    tenant.until(lambda: tenant.receipts("done") == tasks, "the new workers finish the old tasks")


def test_delete_if_empty_rejects_publishers_and_waits_until_workers_have_emptied_the_queue(tenant: Tenant) -> None:
    tenant.apply(deletion="DeleteIfEmpty", mode="Paused", pausedReplicas=0)
    tenant.until_ready()
    tasks = Counter(tenant.publish(5, seconds=0))
    tenant.delete()
    tenant.until_reason("Ready", "NotEmpty")
    with pytest.raises(PublishFailedError):
        tenant.publish(1, seconds=0)
    assert tenant.queues()["work"]

    tenant.patch({"scaling": {"mode": "Auto", "pausedReplicas": None}})
    tenant.until_deleted()
    assert tenant.receipts("done") == tasks
    assert not tenant.queues()
    assert not tenant.broker.exchanges(tenant.namespace)


def test_delete_lets_a_running_task_finish_and_removes_queue_and_messages(tenant: Tenant) -> None:
    tenant.apply(deletion="Delete", maxReplicas=1)
    tenant.until_ready()
    tenant.publish_gated(5)
    tenant.until(lambda: tenant.receipts("started"), "a task runs")
    tenant.delete()
    tenant.until(lambda: '"event":"leaving"' in tenant.logs(tenant.pods()[0]), "the worker has received SIGTERM")
    assert tenant.queues()["work"], "the queue is kept while a task runs"
    tenant.open_gate()
    tenant.until_deleted()
    assert not tenant.queues()
    assert not tenant.broker.exchanges(tenant.namespace)
    assert tenant.receipts("done") == tenant.receipts("started")
    assert len(tenant.receipts("done")) < 5
