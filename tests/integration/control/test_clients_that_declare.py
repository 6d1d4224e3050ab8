"""Clients that declare the queue as tutorials do, before the operator or after it."""

import asyncio
from typing import Final

import aio_pika

from tests.integration.harness.eventually import eventually
from tests.integration.harness.tenant import Tenant
from tests.integration.harness.versions import every_version

CLASSIC: Final = {"type": "Classic", "settingsBy": "Policy"}


def reconciled(tenant: Tenant) -> None:
    """Wait until the topology is as declared; messages ask for workers, which no kubelet starts here."""
    eventually(lambda: tenant.condition("jobs", "TopologyReady").get("reason"), "Reconciled")


async def declare_and_reject(tenant: Tenant) -> None:
    """Declare queue `jobs` as a tutorial does, publish, and fail on a message."""
    async with await aio_pika.connect(f"{tenant.broker.url}{tenant.vhost}") as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("jobs", durable=True)
        await channel.default_exchange.publish(aio_pika.Message(b"{}"), "jobs")
        await (await queue.get(timeout=30)).reject()


async def declare_and_publish(tenant: Tenant) -> None:
    async with await aio_pika.connect(f"{tenant.broker.url}{tenant.vhost}") as connection:
        channel = await connection.channel()
        await channel.declare_queue("jobs", durable=True)
        await channel.default_exchange.publish(aio_pika.Message(b"{}"), "jobs")


@every_version
def test_a_queue_that_a_client_has_declared_first_gets_dead_letters_and_can_be_adopted(tenant: Tenant) -> None:
    tenant.secret_of_least_rights("jobs")
    asyncio.run(declare_and_publish(tenant))
    tenant.taskqueue("jobs", queue=CLASSIC, adoptionPolicy="IfMatching", deletionPolicy="DeleteIfEmpty")
    reconciled(tenant)
    assert 'did not create queue "jobs"' in tenant.condition("jobs", "TopologyReady")["message"]

    asyncio.run(declare_and_reject(tenant))
    eventually(lambda: tenant.queue("jobs.dlq").get("messages"), 1)

    tenant.kubectl("delete", "taskqueue", "jobs", "--wait=false")
    tenant.purge("jobs")
    tenant.purge("jobs.dlq")
    eventually(lambda: tenant.get("taskqueue", "jobs"), {})
    assert not tenant.queue("jobs")
    assert not tenant.read(tenant.path("policies", "jobs.settings"))


def test_a_displaced_policy_keeps_messages_and_workers_from_the_queue(tenant: Tenant) -> None:
    tenant.secret()
    tenant.policy("company", ".*", {"max-length": 5}, priority=5000)
    tenant.taskqueue("jobs", queue=CLASSIC)
    eventually(lambda: tenant.condition("jobs", "TopologyReady").get("reason"), "PolicyConflict")
    assert 'policy "company"' in tenant.condition("jobs", "TopologyReady")["message"]
    assert not tenant.get("deployment", "jobs")
    assert not tenant.read(tenant.path("exchanges", "jobs")), "publishers would be confirmed"

    tenant.policy("company", ".*", {"max-length": 5}, priority=1)
    reconciled(tenant)
    definition = tenant.read(tenant.path("policies", "jobs.settings over company"))["definition"]
    assert definition == {"max-length": 5, "dead-letter-exchange": "", "dead-letter-routing-key": "jobs.dlq"}
    asyncio.run(declare_and_reject(tenant))
    eventually(lambda: tenant.queue("jobs.dlq").get("messages"), 1)

    tenant.kubectl("delete", "taskqueue", "jobs", "--timeout=120s")
    asyncio.run(declare_and_reject(tenant))
    eventually(lambda: tenant.queue("jobs.dlq").get("messages"), 2)
