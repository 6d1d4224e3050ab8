"""`spec.retry.backoff.type: Linear`: RabbitMQ delays what any consumer rejects, counts it and dead-letters it."""

import asyncio
from typing import Any

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

from tests.integration.harness.eventually import eventually
from tests.integration.harness.tenant import Tenant

from .test_invariants import ready

PLAIN = {"image": "acme/pika:1", "protocol": "Plain", "acksLate": True}


def linear(tenant: Tenant, *, seconds: int = 1, **spec: object) -> None:
    """Apply a TaskQueue whose failed messages RabbitMQ delays."""
    backoff = {"type": "Linear", "initialSeconds": seconds, "maxSeconds": max(2, seconds)}
    tenant.taskqueue("jobs", worker=PLAIN, retry={"maxAttempts": 3, "backoff": backoff}, **spec)


def reject(tenant: Tenant, *, times: int) -> list[AbstractIncomingMessage]:
    """Receive a message so many times with a plain client that knows nothing of delays, and reject it each time."""

    async def consume() -> list[AbstractIncomingMessage]:
        async with await aio_pika.connect(f"{tenant.broker.url}{tenant.vhost}") as connection:
            queue = await (await connection.channel()).get_queue("jobs")
            received: list[AbstractIncomingMessage] = []
            async with queue.iterator() as messages:
                async for message in messages:
                    received.append(message)
                    await message.reject(requeue=True)
                    if len(received) == times:
                        break
            return received

    return asyncio.run(consume())


def dead_letter(tenant: Tenant) -> AbstractIncomingMessage:
    async def get() -> AbstractIncomingMessage:
        async with await aio_pika.connect(f"{tenant.broker.url}{tenant.vhost}") as connection:
            queue = await (await connection.channel()).get_queue("jobs.dlq")
            message = await queue.get(no_ack=True)
            assert message is not None
            return message

    return asyncio.run(get())


def status(tenant: Tenant) -> dict[str, Any]:
    found: dict[str, Any] = tenant.get("taskqueue", "jobs").get("status", {})
    return found


def test_a_message_that_a_plain_consumer_rejects_is_delayed_and_dead_lettered_after_its_attempts(
    tenant: Tenant,
) -> None:
    tenant.secret()
    tenant.policy("company", "^jobs$", {"max-length": 100})
    tenant.policy("slow", "^other$", {"delayed-retry-type": "all", "delayed-retry-min": 1000})
    tenant.taskqueue("other")
    linear(tenant, scaling={"mode": "Paused", "maxReplicas": 1})
    ready(tenant, "jobs")
    ours = tenant.read(tenant.path("policies", "jobs.retry over company"))["definition"]
    delays = {"delayed-retry-type": "failed", "delayed-retry-min": 1000, "delayed-retry-max": 2000}
    assert ours == {"max-length": 100, **delays, "delivery-limit": 2}
    tenant.publish("jobs", "jobs", 1)
    received = reject(tenant, times=3)
    assert [message.headers.get("x-delivery-count", 0) for message in received] == [0, 1, 2]
    eventually(lambda: tenant.queue("jobs.dlq").get("messages"), 1)
    assert dead_letter(tenant).headers["x-death"][0]["reason"] == "delivery_limit"  # type: ignore[index,call-overload]
    eventually(lambda: tenant.condition("other", "ScalingActive").get("reason"), "ReturnedDelayed")


def test_delayed_messages_are_counted_and_start_a_worker_when_they_are_due(tenant: Tenant) -> None:
    tenant.secret()
    seconds = 75  # the status has figures that are up to 45 s old: of a sweep, and written every 30 s
    linear(tenant, seconds=seconds, scaling={"mode": "Paused", "pausedReplicas": 0, "maxReplicas": 1})
    ready(tenant, "jobs")
    tenant.publish("jobs", "jobs", 1)
    reject(tenant, times=1)
    eventually(lambda: status(tenant).get("backlog", {}).get("delayed"), 1)
    linear(tenant, seconds=seconds, scaling={"maxReplicas": 1})
    eventually(lambda: status(tenant).get("decision", "").startswith("ready 1 "))
    assert tenant.replicas("jobs") == 1
