"""A broker that accepts connections and never answers delays no TaskQueue on another one."""

import asyncio
import re
from contextlib import nullcontext

import pytest

from taskqueue_operator.resource.faults import BrokerFault
from taskqueue_operator.resource.names import Key

from .control_harness import ControlHarness
from .fake_broker import DATA, UNREACHABLE, FakeEndpoint
from .fake_cluster import KEY, taskqueue

pytestmark = [pytest.mark.looptime, pytest.mark.slow]

MANY = 80


def add_silent(harness: ControlHarness, *, namespaces: int) -> list[Key]:
    """Create TaskQueues on brokers that never answer, each with a Secret of its own."""
    keys = [Key(f"silent-{number % namespaces}", f"queue-{number}") for number in range(MANY)]
    for number, key in enumerate(keys):
        data = {"uri": f"amqp://silent-{number}/".encode()}
        harness.brokers.brokers[FakeEndpoint(data["uri"])].silent = True
        harness.cluster.secrets[Key(key.namespace, f"secret-{number}")] = data
        harness.cluster.put(taskqueue(key, broker={"secretRef": {"name": f"secret-{number}"}}))
    return keys


@pytest.mark.parametrize("namespaces", [1, MANY])
async def test_new_taskqueues_on_a_silent_broker_delay_no_other_one(harness: ControlHarness, namespaces: int) -> None:
    silent = add_silent(harness, namespaces=namespaces)
    await harness.settle(1)
    await harness.apply()
    assert harness.replicas() == 0
    await harness.settle(25)
    reasons = {harness.cluster.condition("BrokerReachable", key)["reason"] for key in silent}
    assert reasons == {"BrokerUnreachable"}


async def test_a_taskqueue_on_a_broker_that_answers_late_is_reconciled_when_it_does(harness: ControlHarness) -> None:
    harness.broker.silent = True
    await harness.apply()
    assert KEY not in harness.cluster.deployments
    harness.broker.silent = False
    await harness.settle(45)
    assert harness.replicas() == 0


@pytest.mark.parametrize("namespaces", [1, MANY])
async def test_a_known_broker_that_becomes_silent_delays_no_taskqueue_on_another_one(
    harness: ControlHarness, namespaces: int
) -> None:
    keys = [Key(f"media-{number % namespaces}", f"queue-{number}") for number in range(MANY)]
    for key in keys:
        harness.cluster.secrets[Key(key.namespace, "rabbitmq")] = DATA
        harness.cluster.put(taskqueue(key))
    await harness.settle(30)
    harness.broker.topology_seconds = 3600.0
    for key in keys:
        harness.controller.states[key].reconcile.request_topology_check()
        harness.controller.work_queues.reconcile.add(key)
    await harness.settle(1)
    assert len(harness.controller.work_queues.reconcile) == MANY
    other = Key(keys[0].namespace, "other")
    harness.cluster.secrets[Key(other.namespace, "other")] = {"uri": b"amqp://other"}
    harness.cluster.put(taskqueue(other, broker={"secretRef": {"name": "other"}}))
    await harness.settle(2)
    assert other in harness.cluster.deployments


async def test_a_broker_that_is_known_to_be_silent_is_not_waited_for(harness: ControlHarness) -> None:
    await harness.apply()
    await harness.settle(30)
    harness.broker.silent = True
    await harness.settle(60)
    observer = harness.controller.states[KEY].connection.observer
    assert observer is not None
    with pytest.raises(BrokerFault, match=re.escape(UNREACHABLE.message)):
        await asyncio.wait_for(observer.topology(nullcontext), 0.1)
