"""Delayed retries: what the operator declares for them, counts and waits for."""

import asyncio

import aio_pika

from taskqueue_worker.publishing.ladder import Ladder
from taskqueue_worker.publishing.publisher import Publisher
from tests.cluster.debian import NEWEST_RABBITMQ
from tests.integration.harness.eventually import eventually
from tests.integration.harness.tenant import Tenant
from tests.integration.harness.versions import every_version

from .test_deletion import delete, gone, said
from .test_invariants import ready

PAUSED = {"mode": "Paused", "maxReplicas": 1}


def delay(tenant: Tenant, queue: str, count: int, *, seconds: int) -> None:
    """Delay messages as a worker does."""

    async def publish() -> None:
        async with Publisher(f"{tenant.broker.url}{tenant.vhost}") as publisher:
            ladder = Ladder(publisher)
            for n in range(count):
                await ladder.delay(aio_pika.Message(b"{}", message_id=f"{n}"), queue, seconds * 1000)

    asyncio.run(publish())


@every_version
def test_a_deletion_waits_for_delayed_retries_and_those_of_a_deleted_queue_are_parked(tenant: Tenant) -> None:
    tenant.secret()
    tenant.taskqueue("jobs", deletionPolicy="DeleteIfEmpty", scaling=PAUSED)
    ready(tenant, "jobs")
    delay(tenant, "jobs", 20, seconds=32)
    delete(tenant)
    eventually(lambda: said(tenant, "NotEmpty", 'at most 20 messages of queue "jobs" wait for their retry'))
    tenant.kubectl("patch", "taskqueue", "jobs", "--type=merge", "-p", '{"spec":{"deletionPolicy":"Delete"}}')
    gone(tenant)
    if tenant.broker.version == NEWEST_RABBITMQ:  # half a minute
        eventually(lambda: tenant.queue("taskqueue.parking").get("messages"), 20)
        tenant.taskqueue("other", scaling=PAUSED)
        eventually(lambda: tenant.condition("other", "TopologyReady").get("reason"), "RetriesParked")
        tenant.purge("taskqueue.parking")
        eventually(lambda: tenant.condition("other", "TopologyReady").get("reason"), "Reconciled")


def test_a_full_queue_delays_its_own_retries_only(tenant: Tenant) -> None:
    tenant.secret_of_least_rights("jobs", "other")
    tenant.policy("short", "^jobs$", {"max-length": 1})
    for name in ("jobs", "other"):
        tenant.taskqueue(name, scaling=PAUSED)
        ready(tenant, name)
    tenant.publish("jobs", "jobs", 2)
    delay(tenant, "jobs", 100, seconds=1)
    delay(tenant, "other", 10, seconds=1)
    eventually(lambda: tenant.queue("other").get("messages"), 10)
    eventually(lambda: tenant.get("taskqueue", "jobs").get("status", {}).get("backlog", {}).get("delayed", 0) >= 90)
    assert tenant.queue("taskqueue.return.jobs")["messages"] >= 90, "a quorum queue takes a few more than its limit"
    assert tenant.queue("taskqueue.parking")["messages"] == 0
