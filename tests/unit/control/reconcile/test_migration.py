"""With `changePolicy: Migrate`, the operator replaces a queue while publishers and workers continue."""

import asyncio

import pytest

from taskqueue_operator.topology.diff import Declare, Remove
from taskqueue_operator.topology.objects import Queue
from tests.approved import assert_approved
from tests.unit.control.control_harness import ControlHarness
from tests.unit.control.fake_cluster import KEY, taskqueue
from tests.unit.topology.in_memory_vhost import apply_policies, routed

from .deletion_outcome import is_deleted

pytestmark = pytest.mark.looptime

MAIN, INTERIM = "thumbnails", "taskqueue.interim.thumbnails"
CLASSIC = {"type": "Classic"}
TO_QUORUM = {"type": "Quorum", "changePolicy": "Migrate"}
MARKERS = Queue(f"taskqueue.delayed.{MAIN}")


async def begin(harness: ControlHarness) -> None:
    """A Classic queue with 10 messages and 2 workers, and a spec that asks for a Quorum queue."""
    scaling = {"maxReplicas": 5, "minReplicas": 2}
    await harness.apply(queue=CLASSIC, scaling=scaling)
    harness.cluster.run_pods(KEY)
    harness.broker.depths[MAIN] = (10, 0)
    await harness.settle(30)
    harness.cluster.put(taskqueue(KEY, queue=TO_QUORUM, scaling=scaling))
    await harness.settle(10)


def receiving(harness: ControlHarness) -> set[str]:
    """The queues that a published message reaches."""
    return routed(MAIN, MAIN, apply_policies(harness.broker.topology_))


def type_of(harness: ControlHarness, queue: str) -> object:
    return harness.broker.topology_.queues[queue].arguments["x-queue-type"]


def queues_of_workers(harness: ControlHarness) -> str:
    (container,) = harness.cluster.deployments[KEY]["spec"]["template"]["spec"]["containers"]
    (value,) = (variable["value"] for variable in container["env"] if variable["name"] == "TASKQUEUE_QUEUES")
    return str(value)


def is_deleting(harness: ControlHarness) -> bool:
    found = harness.cluster.taskqueues.get(KEY)
    return found is None or "deletionTimestamp" in found["metadata"]


async def work(harness: ControlHarness, seconds: float) -> None:
    """Workers are rolled out, and empty what they consume; publishers publish all the time."""
    for _ in range(int(seconds)):
        if KEY in harness.cluster.deployments:
            harness.cluster.run_pods(KEY)
            for queue in queues_of_workers(harness).split(","):
                harness.broker.depths[queue] = (0, 0)
        assert is_deleting(harness) or len(receiving(harness)) == 1
        await harness.settle(1)


async def test_a_migration_replaces_the_queue_and_ends(harness: ControlHarness) -> None:
    await begin(harness)
    assert (receiving(harness), queues_of_workers(harness)) == ({MAIN}, f"{MAIN},{INTERIM}")
    condition = harness.cluster.condition("TopologyReady")
    assert (condition["status"], condition["reason"]) == ("False", "Migrating")
    assert_approved("migration.rolling_out", condition["message"])
    assert harness.cluster.condition("Ready")["status"] == "False", "the rollout of this generation"

    harness.cluster.run_pods(KEY)
    await harness.settle(30)
    assert receiving(harness) == {INTERIM}
    assert_approved("migration.emptying", harness.cluster.condition("TopologyReady")["message"])
    assert harness.cluster.condition("Ready")["status"] == "True"
    assert type_of(harness, MAIN) == "classic"

    await work(harness, 120)
    assert (set(harness.broker.queues), type_of(harness, MAIN)) == ({MAIN, f"{MAIN}.dlq"}, "quorum")
    assert (INTERIM in harness.broker.topology_.queues, receiving(harness)) == (False, {MAIN})
    assert queues_of_workers(harness) == MAIN
    assert harness.cluster.condition("TopologyReady")["status"] == "True"
    assert "Reconciling" not in {condition["type"] for condition in harness.cluster.status()["conditions"]}


async def test_a_full_queue_refuses_messages_until_it_is_replaced(harness: ControlHarness) -> None:
    """The overflow of a Classic queue is a setting of its policy; that of a Quorum queue is an argument."""
    limit = {"maxLength": 5}
    await harness.apply(queue=CLASSIC | limit)
    harness.broker.depths[MAIN] = (5, 0)
    await harness.settle(30)
    before = harness.broker.topology_.policies[f"{MAIN}.limits"]
    assert before.definition == {"max-length": 5, "overflow": "reject-publish"}

    harness.cluster.put(taskqueue(KEY, queue=TO_QUORUM | limit))
    await harness.settle(30)
    assert type_of(harness, MAIN) == "classic"
    assert harness.broker.topology_.policies[before.name] == before
    assert harness.broker.topology_.policies[f"{INTERIM}.limits"].definition == {"max-length": 5}

    await work(harness, 120)
    assert type_of(harness, MAIN) == "quorum"
    assert harness.broker.topology_.policies[before.name].definition == {"max-length": 5}


async def test_without_change_policy_the_queue_stays(harness: ControlHarness) -> None:
    await harness.apply(queue=CLASSIC)
    await harness.apply(queue={"type": "Quorum"})
    await harness.settle(30)

    assert harness.cluster.condition("TopologyReady")["reason"] == "ImmutableDrift"
    assert type_of(harness, MAIN) == "classic"
    assert INTERIM not in harness.broker.topology_.queues


@pytest.mark.parametrize("held", ["ready", "unacked", "deferred", "delayed"])
async def test_the_old_queue_is_not_deleted_while_it_holds_a_message_in_any_state(
    harness: ControlHarness, held: str
) -> None:
    await begin(harness)
    harness.cluster.run_pods(KEY)
    await harness.settle(30)
    harness.broker.depths[MAIN] = (int(held == "ready"), int(held == "unacked"))
    harness.broker.deferred[MAIN] = int(held == "deferred")
    if held == "delayed":
        await harness.broker.apply([Declare(MARKERS)])
        harness.broker.depths[MARKERS.name] = (1, 0)
    await harness.settle(120)
    assert type_of(harness, MAIN) == "classic"

    harness.broker.depths[MAIN], harness.broker.deferred[MAIN] = (0, 0), 0
    await harness.broker.apply([Remove(MARKERS)])
    await harness.settle(60)
    assert type_of(harness, MAIN) == "quorum"


async def test_messages_of_both_queues_count_as_backlog(harness: ControlHarness) -> None:
    await begin(harness)
    harness.cluster.run_pods(KEY)
    await harness.settle(30)
    harness.broker.depths[MAIN], harness.broker.depths[INTERIM] = (10, 0), (90, 0)
    await harness.settle(60)
    assert harness.cluster.status()["backlog"]["ready"] == 100
    assert harness.replicas() == 5


@pytest.mark.parametrize("seconds", [1, 20, 45])
async def test_a_migration_is_aborted_until_the_old_queue_is_deleted(harness: ControlHarness, seconds: int) -> None:
    await begin(harness)
    harness.cluster.run_pods(KEY)
    await harness.settle(seconds)
    harness.cluster.put(taskqueue(KEY, queue=CLASSIC, scaling={"maxReplicas": 5, "minReplicas": 2}))
    await work(harness, 120)

    assert (type_of(harness, MAIN), receiving(harness)) == ("classic", {MAIN})
    assert INTERIM not in harness.broker.topology_.queues
    assert queues_of_workers(harness) == MAIN
    assert harness.cluster.condition("Ready")["status"] == "True"


@pytest.mark.parametrize("period", [3, 7, 11, 13])
async def test_invariant_7_a_migration_ends_after_restarts_at_any_step(harness: ControlHarness, period: int) -> None:
    await begin(harness)
    for _ in range(40):
        await work(harness, period)
        for _ in range(period):
            await asyncio.sleep(0)
        await harness.restart()
        assert len(receiving(harness)) == 1
    await work(harness, 120)

    assert (type_of(harness, MAIN), receiving(harness)) == ("quorum", {MAIN})
    assert INTERIM not in harness.broker.topology_.queues
    assert queues_of_workers(harness) == MAIN


@pytest.mark.parametrize("policy", ["DeleteIfEmpty", "Drain", "Delete"])
async def test_a_deletion_ends_a_migration_first(harness: ControlHarness, policy: str) -> None:
    await harness.apply(queue=CLASSIC, deletionPolicy=policy)
    harness.broker.depths[MAIN] = (10, 0)
    await harness.apply(queue=TO_QUORUM, deletionPolicy=policy)
    harness.cluster.run_pods(KEY)
    await harness.settle(30)
    assert receiving(harness) == {INTERIM}
    harness.broker.depths[INTERIM] = (5, 0)

    harness.cluster.delete(KEY)
    await harness.settle(60)
    if policy != "Delete":
        assert not is_deleted(harness)
        assert receiving(harness) == {MAIN}, "it is not fenced as long as the interim queue holds messages"
        assert harness.cluster.condition("Ready")["reason"] == "NotEmpty"
    if policy == "Drain":
        assert_approved("deletion.migrating", harness.cluster.condition("Ready")["message"])
    await work(harness, 120)
    assert is_deleted(harness)
    assert (harness.broker.queues, harness.broker.exchanges) == ({}, {})
    assert INTERIM not in harness.broker.topology_.queues


async def test_retain_leads_publishers_back_and_keeps_the_messages(harness: ControlHarness) -> None:
    await begin(harness)
    harness.cluster.run_pods(KEY)
    await harness.settle(30)
    harness.broker.depths[INTERIM] = (5, 0)
    harness.cluster.delete(KEY)
    await harness.settle(30)

    assert is_deleted(harness)
    assert receiving(harness) == {MAIN}
    assert {MAIN, INTERIM} <= set(harness.broker.topology_.queues)


async def test_workers_stay_as_they_are_while_the_broker_cannot_be_read(harness: ControlHarness) -> None:
    """After a restart, which queues they are to consume is unknown."""
    await begin(harness)
    harness.broker.silent = True
    await harness.restart()
    await harness.settle(120)
    assert queues_of_workers(harness) == f"{MAIN},{INTERIM}"
