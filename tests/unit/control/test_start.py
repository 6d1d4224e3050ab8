"""After a start all queues are read soon, with few requests."""

import asyncio
import copy
from dataclasses import replace

import pytest

from taskqueue_operator.control.controller import TOPOLOGY_SLICE
from taskqueue_operator.resource.names import Key
from taskqueue_operator.topology.objects import Topology
from tests.approved import assert_approved
from tests.unit.iterations import counted_iterations

from .control_harness import ControlHarness
from .fake_cluster import KEY, taskqueue

pytestmark = [pytest.mark.looptime, pytest.mark.slow]

MANY = [Key("media", f"queue-{n}") for n in range(160)]


async def start_many(harness: ControlHarness) -> None:
    """Create more TaskQueues than are reconciled at a time, and wait until all are ready."""
    for key in MANY:
        harness.cluster.put(taskqueue(key))
    await harness.settle(30)


def delay(harness: ControlHarness, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Delay the topology, as a broker with thousands of objects does."""
    read = harness.broker.topology

    async def later() -> Topology:
        await asyncio.sleep(seconds)
        return await read()

    monkeypatch.setattr(harness.broker, "topology", later)


async def test_every_queue_is_read_before_the_topology(
    harness: ControlHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await start_many(harness)
    delay(harness, monkeypatch, seconds=30)
    harness.broker.probes.clear()
    await harness.restart()
    await harness.settle(2)
    read: set[str] = set().union(*(queues for _, queues in harness.broker.probes))
    assert read == {key.name for key in MANY}


async def test_all_taskqueues_share_a_few_reads_of_topology_and_secret(
    harness: ControlHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await start_many(harness)
    delay(harness, monkeypatch, seconds=0.5)
    harness.cluster.writes.clear()
    harness.cluster.secret_reads.clear()
    looks = harness.broker.reads
    await harness.restart()
    await harness.settle(10)
    assert all(harness.controller.states[key].reconcile.topology_generation for key in MANY)
    assert harness.broker.reads - looks <= 4
    assert len(harness.cluster.secret_reads) <= 2
    assert harness.cluster.writes == []


async def test_the_first_declaration_and_the_deletion_of_many_taskqueues_need_a_few_reads(
    harness: ControlHarness,
) -> None:
    harness.broker.topology_seconds = 0.5  # so ten reads fit into five seconds
    for key in MANY:
        harness.cluster.put(taskqueue(key, deletionPolicy="Delete"))
    await harness.settle(5)
    assert all(harness.controller.states[key].reconcile.topology_generation for key in MANY)
    assert harness.broker.reads <= 5
    for key in MANY:
        harness.cluster.delete(key)
    await harness.settle(5)
    assert not harness.broker.queues


async def test_drift_during_a_downtime_is_repaired_after_the_start(harness: ControlHarness) -> None:
    await start_many(harness)
    missing = MANY[7].name
    before = harness.broker.topology_
    harness.broker.topology_ = replace(before, queues={n: queue for n, queue in before.queues.items() if n != missing})
    await harness.restart()
    await harness.settle(10)
    assert missing in harness.broker.topology_.queues


async def test_a_taskqueue_without_a_connection_delays_no_other_taskqueue(harness: ControlHarness) -> None:
    await start_many(harness)
    harness.cluster.put(taskqueue(MANY[0], broker={"secretRef": {"name": "missing"}}))
    await harness.restart()
    await harness.settle(5)
    assert harness.controller.first_read.is_set()
    assert harness.cluster.condition("BrokerReachable", MANY[0])["reason"] == "SecretNotFound"


async def test_invariant_5_a_restart_does_not_write_the_last_decision_again(harness: ControlHarness) -> None:
    harness.start_workers()
    await harness.apply(scaling={"maxReplicas": 20, "idleSeconds": 0})
    harness.broker.depths["thumbnails"] = (100, 0)
    await harness.settle(5)
    harness.broker.depths["thumbnails"] = (0, 0)
    await harness.settle(150)
    assert_approved("decision.at_zero_with_an_empty_queue", harness.cluster.status()["decision"])
    harness.cluster.writes.clear()
    await harness.restart()
    await harness.settle(60)
    assert harness.cluster.writes == []


async def test_the_pause_before_a_plan_grows_with_the_number_of_workers(
    harness: ControlHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    delays: list[float] = []
    await harness.apply(scaling={"maxReplicas": 500, "minReplicas": 500})
    harness.cluster.run_pods(KEY)
    await harness.settle(5)
    await harness.apply(scaling={"maxReplicas": 500, "mode": "Paused", "pausedReplicas": 0})
    monkeypatch.setattr(
        harness.controller.work_queues.scale, "add_unless_backing_off", lambda _, delay: delays.append(delay)
    )
    harness.controller.on_deployment(copy.deepcopy(harness.cluster.deployments[KEY]), deleted=False)
    assert delays
    assert min(delays) == 0.25, "500 workers that drain cause four plans a second"


async def test_other_tasks_run_while_the_topology_of_many_taskqueues_is_compared(harness: ControlHarness) -> None:
    await start_many(harness)
    actual = await harness.broker.topology()
    with counted_iterations() as iterations:
        await harness.controller.on_topology(MANY, actual)
    assert iterations.present >= len(MANY) // TOPOLOGY_SLICE
