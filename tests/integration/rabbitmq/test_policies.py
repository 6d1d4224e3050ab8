"""Policies of users and of the operator, on a real broker."""

import asyncio
from dataclasses import replace
from urllib.parse import quote

import httpx
import pytest

from taskqueue_operator.resource.faults import Reason, TopologyFault
from taskqueue_operator.topology.diff import Declare, diff
from taskqueue_operator.topology.objects import Policy
from taskqueue_operator.topology.retry_path import retry_steps
from tests.cluster.broker import Broker
from tests.integration.harness.versions import every_version
from tests.integration.rabbitmq.conftest import Connect, declare
from tests.unit.topology.builders import OWNER, desired_topology, timeout_policy


async def test_a_user_policy_with_the_name_of_the_fence_stays(
    connect: Connect, admin: httpx.Client, vhost: str
) -> None:
    theirs = {"pattern": "^jobs", "apply-to": "queues", "definition": {"max-length": 5}, "priority": 1}
    path = f"/policies/{quote(vhost, safe='')}/jobs.fence"
    (await asyncio.to_thread(admin.put, path, json=theirs)).raise_for_status()
    rabbitmq = connect()

    await declare(rabbitmq, desired_topology())

    assert (await rabbitmq.topology()).policies["jobs.fence"].definition == {"max-length": 5}


@every_version
async def test_a_queue_that_a_policy_limits_gets_a_landing_queue_for_its_retries(
    connect: Connect, admin: httpx.Client, vhost: str
) -> None:
    limit = {"pattern": "^jobs$", "apply-to": "queues", "definition": {"max-length": 5}}
    (await asyncio.to_thread(admin.put, f"/policies/{quote(vhost, safe='')}/limit", json=limit)).raise_for_status()
    rabbitmq = connect()
    await declare(rabbitmq, desired_topology())

    await rabbitmq.apply(retry_steps("jobs", await rabbitmq.topology(), owner=OWNER))

    actual = await rabbitmq.topology()
    assert "taskqueue.return.jobs" in actual.queues
    assert retry_steps("jobs", actual, owner=OWNER) == ()


@every_version
async def test_a_timeout_for_one_queue_is_written_where_rabbitmq_has_it_and_refused_where_not(
    connect: Connect, broker: Broker
) -> None:
    policy = Policy("jobs.timeout", "^jobs$", "queues", {"consumer-timeout": 7_200_000})
    if broker.version != "3.10":
        await connect().apply([Declare(policy)])
        return
    with pytest.raises(TopologyFault, match="consumer-timeout") as fault:
        await connect().apply([Declare(policy)])
    assert fault.value.reason is Reason.TOPOLOGY_REFUSED


async def test_the_timeout_policy_keeps_the_effect_of_the_policy_that_it_replaces(
    connect: Connect, admin: httpx.Client, vhost: str
) -> None:
    theirs = {"pattern": "^jobs", "apply-to": "all", "definition": {"max-length": 5}, "priority": 1}
    path = quote(vhost, safe="")
    (await asyncio.to_thread(admin.put, f"/policies/{path}/theirs", json=theirs)).raise_for_status()
    rabbitmq = connect()
    await declare(rabbitmq, desired_topology())
    actual = await rabbitmq.topology()
    assert actual.supports_consumer_timeout, "this is RabbitMQ 4.3 or newer"
    assert actual.queues["jobs"].policy == "theirs"
    policy = timeout_policy("jobs", 7200, actual)
    assert policy is not None
    desired = replace(desired_topology(), policies={policy.name: policy})

    await declare(rabbitmq, desired)

    actual = await rabbitmq.topology()
    assert actual.queues["jobs"].policy == "jobs.timeout over theirs", "the listing is right at once"
    assert timeout_policy("jobs", 7200, actual) == policy, "the policy repeats only the definition of the user's policy"
    assert diff(desired, actual, owner=OWNER) == ()
    applied = {"max-length": 5, "consumer-timeout": 7_200_000}
    async with asyncio.timeout(120):
        while await effective_policy(admin, f"/queues/{path}/jobs") != applied:  # noqa: ASYNC110  shown with the next statistics
            await asyncio.sleep(0.2)


async def effective_policy(admin: httpx.Client, queue: str) -> object:
    """Return the settings that the broker applies to a queue; None while no statistics show them."""
    shown: dict[str, object] = (await asyncio.to_thread(admin.get, queue)).raise_for_status().json()
    return shown.get("effective_policy_definition")
