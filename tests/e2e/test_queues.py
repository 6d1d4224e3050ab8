"""Workers on real pods that consume several queues: a queue that is replaced, and external queues."""

from collections import Counter
from dataclasses import replace

import pytest

from tests.e2e.application import NAME, TASKQUEUE_WORKER, Application
from tests.e2e.tenant import Tenant

EXTERNAL = ("mails", "videos")


def test_a_queue_is_replaced_while_its_worker_runs_and_every_task_is_done_once(tenant: Tenant) -> None:
    tenant.apply(queue={"type": "Classic"}, minReplicas=1, maxReplicas=1)
    tenant.until_ready()
    tasks = Counter(tenant.publish(10, seconds=0.3))
    tenant.apply(queue={"type": "Quorum", "changePolicy": "Migrate"}, minReplicas=1, maxReplicas=1)
    tenant.until_reason("TopologyReady", "Migrating")

    def is_replaced() -> bool:
        tasks.update(tenant.publish(1, seconds=0))
        return tenant.queues().get(NAME, {}).get("type") == "quorum"

    tenant.until(is_replaced, "the queue is of the other type")
    tenant.until_reason("TopologyReady", "Reconciled")
    tasks.update(tenant.publish(1, seconds=0))
    tenant.until(lambda: tenant.receipts("done") == tasks, "all tasks are done")
    assert tenant.receipts("started") == tasks
    assert {name: queue["type"] for name, queue in tenant.queues().items()} == {"work": "quorum", "work.dlq": "classic"}


class TestExternalQueues:
    """Queues that the operator did not declare."""

    @pytest.fixture
    def application(self) -> Application:
        first, *further = EXTERNAL
        return replace(TASKQUEUE_WORKER, queue=first, further_queues=tuple(further))

    def test_workers_scale_by_the_sum_of_external_queues_and_every_task_is_done_once(self, tenant: Tenant) -> None:
        names = {name for queue in EXTERNAL for name in (queue, f"{queue}.dlq")}
        for name in names:
            tenant.broker.create_queue(tenant.namespace, name)
        tenant.apply(external_queues=EXTERNAL)
        tenant.until_ready()
        assert not tenant.pods()
        tasks = Counter(task for queue in EXTERNAL for task in tenant.publish(20, seconds=0.5, queue=queue))
        tenant.until_replicas(lambda replicas: replicas == 4, "the Deployment has two replicas for each queue")
        tenant.until_scaled_to_zero()
        assert tenant.receipts("done") == tasks
        assert tenant.receipts("started") == tasks
        assert {name: queue["messages"] for name, queue in tenant.queues().items()} == dict.fromkeys(names, 0)
