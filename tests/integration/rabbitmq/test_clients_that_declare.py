"""What a client meets that declares a queue of the operator as tutorials do: durable, and nothing else."""

from typing import Final
from urllib.parse import quote

import httpx
import pytest
from aiormq.abc import AbstractConnection
from aiormq.exceptions import ChannelPreconditionFailed

from tests.integration.harness.versions import every_version
from tests.integration.rabbitmq.conftest import Connect, declare_jobs, until_got

TYPED: Final = {"x-queue-type": "quorum"}
QUORUM: Final = {"default_queue_type": "quorum", "defaultqueuetype": "quorum"}
"""The default queue type of a vhost, with its name since RabbitMQ 3.13 and before."""


async def is_accepted(amqp: AbstractConnection, **arguments: str) -> bool:
    """Declare queue `jobs` as a durable queue with these arguments, as a client that knows no others."""
    channel = await amqp.channel()
    try:
        await channel.queue_declare("jobs", durable=True, arguments={**arguments})
    except ChannelPreconditionFailed:
        return False
    return True


@pytest.fixture
def vhost_of_quorum_queues(admin: httpx.Client, vhost: str) -> str:
    """The vhost of the test, whose queues are quorum queues unless a client asks for another type."""
    path = f"/vhosts/{quote(vhost, safe='')}"
    admin.delete(path).raise_for_status()
    admin.put(path, json=QUORUM).raise_for_status()
    return vhost


@every_version
async def test_a_plain_declaration_fits_a_classic_queue_whose_settings_are_a_policy(
    connect: Connect, amqp: AbstractConnection
) -> None:
    await declare_jobs(connect(), type="Classic", settingsBy="Policy")
    assert await is_accepted(amqp)

    channel = await amqp.channel()
    await channel.basic_publish(b"task", routing_key="jobs")
    await channel.basic_reject(await until_got(channel, "jobs"), requeue=False)
    assert await until_got(channel, "jobs.dlq")


@every_version
async def test_a_quorum_queue_needs_its_type_in_the_declaration_or_as_default_of_the_vhost(
    connect: Connect, amqp: AbstractConnection
) -> None:
    await declare_jobs(connect(), settingsBy="Policy")
    assert await is_accepted(amqp, **TYPED)
    assert not await is_accepted(amqp)


@every_version
@pytest.mark.usefixtures("vhost_of_quorum_queues")
async def test_a_plain_declaration_fits_a_quorum_queue_that_has_the_default_type_of_the_vhost(
    connect: Connect, amqp: AbstractConnection
) -> None:
    await declare_jobs(connect(), settingsBy="Policy")
    assert await is_accepted(amqp)


@every_version
@pytest.mark.parametrize("type_", ["Classic", "Quorum"])
async def test_no_such_declaration_fits_a_queue_whose_settings_are_arguments(
    connect: Connect, amqp: AbstractConnection, type_: str
) -> None:
    await declare_jobs(connect(), type=type_)
    assert not await is_accepted(amqp)
    assert not await is_accepted(amqp, **{"x-queue-type": type_.lower()})
