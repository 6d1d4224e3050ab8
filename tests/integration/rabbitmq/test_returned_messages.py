"""Messages that workers return, or reject, stay on the broker."""

import asyncio
from typing import Final

import pytest
from aiormq.abc import AbstractConnection

from taskqueue_operator.resource.queue import SettingsBy
from taskqueue_operator.topology.diff import Remove
from tests.integration.harness.versions import every_version
from tests.integration.rabbitmq.conftest import Connect, declare_jobs, probed, until_got
from tests.unit.topology.builders import desired_topology

BY: Final = pytest.mark.parametrize("settings_by", SettingsBy)


@every_version
@BY
async def test_a_message_that_drains_give_back_fifty_times_stays_in_its_queue(
    connect: Connect, amqp: AbstractConnection, settings_by: SettingsBy
) -> None:
    """RabbitMQ 4.0 to 4.2 counts what a drain gives back, and by default drops a message after 20 returns."""
    rabbitmq = connect()
    await declare_jobs(rabbitmq, settingsBy=settings_by)
    channel = await amqp.channel()
    await channel.basic_publish(b"task", routing_key="jobs")
    for _ in range(50):
        tag = await until_got(channel, "jobs")
        await channel.basic_nack(tag, requeue=True)
    assert await until_got(channel, "jobs")
    assert (await probed(rabbitmq, "jobs.dlq")).ready == 0


@every_version
@BY
async def test_a_rejected_message_stays_until_the_dead_letter_queue_exists_again(
    connect: Connect, amqp: AbstractConnection, settings_by: SettingsBy
) -> None:
    """Another client has deleted the dead-letter queue."""
    rabbitmq = connect()
    await declare_jobs(rabbitmq, settingsBy=settings_by)
    await rabbitmq.apply([Remove(desired_topology().queues["jobs.dlq"])])
    channel = await amqp.channel()
    await channel.basic_publish(b"task", exchange="jobs", routing_key="jobs")
    message = await channel.basic_get("jobs")
    assert message.delivery_tag is not None

    await channel.basic_nack(message.delivery_tag, requeue=False)

    async with asyncio.timeout(120):
        while (sweep := (await rabbitmq.sweep())["jobs"]).deferred != 1:  # noqa: ASYNC110  the broker has no event
            await asyncio.sleep(0.2)
    assert (sweep.ready, sweep.unacked, sweep.is_empty) == (0, 0, False)
