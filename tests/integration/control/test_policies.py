"""The policies of users and of the operator for one queue."""

import asyncio

import aio_pika

from tests.integration.harness.eventually import eventually
from tests.integration.harness.tenant import Tenant

from .test_invariants import ready

HOURS = 7_320_000


def test_the_timeout_policy_needs_the_highest_priority_and_goes_with_the_taskqueue(tenant: Tenant) -> None:
    tenant.secret()
    # Evaluated by a backtracking matcher, this pattern takes for ever for the name of the queue.
    tenant.policy("endless", "^(a+)+$", {"max-length": 1})
    queue = "a" * 40 + ":"
    tenant.policy("company", "^a", {"max-length": 7}, priority=5000)
    plain = {"image": "acme/celery:1", "protocol": "Plain", "taskTimeoutSeconds": 7260}
    tenant.taskqueue("jobs", queue={"name": queue}, worker=plain)
    eventually(lambda: tenant.condition("jobs", "TopologyReady").get("reason"), "PolicyConflict")
    assert not tenant.get("deployment", "jobs"), "workers would lose their messages after 30 minutes"

    tenant.policy("company", "^a", {"max-length": 7}, priority=1)
    ready(tenant, "jobs")
    ours = tenant.path("policies", f"{queue}.timeout over company")
    assert tenant.read(ours)["definition"] == {"max-length": 7, "consumer-timeout": HOURS}

    tenant.kubectl("delete", "taskqueue", "jobs", "--wait=false")
    eventually(lambda: tenant.get("taskqueue", "jobs"), {})
    assert not tenant.read(ours)
    assert tenant.queue(queue)


def test_one_policy_has_the_limits_of_the_queue_and_follows_the_spec(tenant: Tenant) -> None:
    tenant.secret()
    tenant.policy("company", "^jobs$", {"delivery-limit": 50}, priority=1)
    tenant.taskqueue("jobs", queue={"maxLength": 5, "messageTtlSeconds": 3600})
    ready(tenant, "jobs")
    ours = tenant.path("policies", "jobs.limits over company")
    assert tenant.read(ours)["definition"] == {"delivery-limit": 50, "max-length": 5, "message-ttl": 3_600_000}
    assert tenant.queue("taskqueue.return.jobs"), "a full queue refuses retries"

    tenant.taskqueue("jobs", queue={"maxLengthBytes": 1_000_000})
    eventually(lambda: tenant.read(ours).get("definition"), {"delivery-limit": 50, "max-length-bytes": 1_000_000})

    tenant.taskqueue("jobs")
    eventually(lambda: tenant.read(ours), {})


def test_dead_letters_beyond_a_limit_are_dropped_and_the_limits_follow_the_spec(tenant: Tenant) -> None:
    tenant.secret_of_least_rights("jobs")
    tenant.policy("company", "dlq$", {"delivery-limit": 1_000_000}, priority=1)
    tenant.taskqueue("jobs", deadLetter={"messageTtlSeconds": 4_233_600, "maxLength": 3})
    ready(tenant, "jobs")
    ours = tenant.path("policies", "jobs.dlq.limits over company")
    limits = {"message-ttl": 4_233_600_000, "max-length": 3, "overflow": "drop-head"}
    assert tenant.read(ours)["definition"] == {"delivery-limit": 1_000_000, **limits}
    asyncio.run(publish_dead_letters(tenant, 9))
    eventually(lambda: asyncio.run(dead_letters(tenant)), 3)

    tenant.taskqueue("jobs", deadLetter={"messageTtlSeconds": 1})
    eventually(lambda: tenant.read(ours).get("definition"), {"delivery-limit": 1_000_000, "message-ttl": 1000})
    tenant.purge("jobs.dlq")  # a time to live counts for messages that arrive after it was set
    asyncio.run(publish_dead_letters(tenant, 5))
    eventually(lambda: asyncio.run(dead_letters(tenant)), 0)

    tenant.taskqueue("jobs")
    eventually(lambda: tenant.read(ours), {})

    tenant.taskqueue("jobs", deadLetter={"maxLength": 3})
    eventually(lambda: tenant.read(ours))
    tenant.kubectl("delete", "taskqueue", "jobs", "--wait=false")
    eventually(lambda: tenant.get("taskqueue", "jobs"), {})
    assert not tenant.read(ours)
    assert tenant.queue("jobs.dlq")


async def publish_dead_letters(tenant: Tenant, count: int) -> None:
    async with await aio_pika.connect(f"{tenant.broker.url}{tenant.vhost}") as connection:
        exchange = (await connection.channel()).default_exchange
        for _ in range(count):
            await exchange.publish(aio_pika.Message(b"{}"), "jobs.dlq")


async def dead_letters(tenant: Tenant) -> int | None:
    async with await aio_pika.connect(f"{tenant.broker.url}{tenant.vhost}") as connection:
        declared = await (await connection.channel()).declare_queue("jobs.dlq", passive=True)
    return declared.declaration_result.message_count
