"""Plain workers that do not stop in good order at SIGTERM, consume further queues, or finish nothing."""

import copy

import pytest

from taskqueue_operator.drain.consumers import Connection
from taskqueue_operator.resource.names import LABEL_NAME, Key
from tests.approved import assert_approved
from tests.unit.control.control_harness import ControlHarness
from tests.unit.control.fake_cluster import KEY
from tests.unit.workers.pod_statuses import READY, Body, container

pytestmark = [pytest.mark.looptime, pytest.mark.slow]

WORKER = {"image": "acme/app:1.4", "protocol": "Plain", "acksLate": True, "taskTimeoutSeconds": 60}
SCALING = {"maxReplicas": 3, "readyPerReplica": 1, "idleSeconds": 0}
ADDRESS = "10.0.0.7"


async def start_pod(harness: ControlHarness) -> Key:
    """Run one pod that consumes the queue."""
    await harness.apply(worker=WORKER, scaling=SCALING | {"minReplicas": 1})
    harness.cluster.run_pods(KEY)
    ((name, pod),) = harness.cluster.pods.items()
    change(harness, name, status=pod["status"] | {"podIP": ADDRESS})
    await harness.settle()
    return name


def change(harness: ControlHarness, name: Key, status: Body | None = None, **metadata: object) -> None:
    pod = copy.deepcopy(harness.cluster.pods[name])
    pod["metadata"] |= metadata
    harness.cluster._store("pods", pod | {"status": status or pod["status"]})


def terminate(harness: ControlHarness, name: Key) -> None:
    change(harness, name, deletionTimestamp="2026-01-01T00:00:00Z")


def consumes(harness: ControlHarness, *queues: str, unacked: int = 0) -> None:
    found = Connection(frozenset({ADDRESS}), dict.fromkeys(queues, True), unacked, "a connection")
    harness.broker.connections = lambda: [found]


def scaling_active(harness: ControlHarness) -> tuple[str, str]:
    condition = harness.cluster.condition("ScalingActive")
    return condition["status"], condition["reason"]


@pytest.mark.parametrize(("code", "approved"), [(137, "workers.interrupted_137"), (143, "workers.interrupted_143")])
async def test_a_worker_that_sigterm_kills_is_named_and_counted(
    harness: ControlHarness, code: int, approved: str
) -> None:
    name = await start_pod(harness)
    terminate(harness, name)
    change(harness, name, {"phase": "Failed"} | container({"terminated": {"exitCode": code}}))
    await harness.settle(30)
    harness.cluster.remove("pods", name)
    await harness.settle(30)
    assert harness.telemetry.events.count(("removed", "interrupted")) == 1
    assert scaling_active(harness) == ("True", "WorkersInterrupted")
    message = harness.cluster.condition("ScalingActive")["message"]
    assert_approved(approved, message.replace(name.name, "thumbnails-1"))


async def test_an_interrupted_worker_of_a_former_template_is_not_named(harness: ControlHarness) -> None:
    """Of a Deployment of others, nothing but the ReplicaSet of its pods tells the versions of the template apart."""
    shop, label = Key("media", "shop-worker"), {LABEL_NAME: KEY.name}
    template = {"metadata": {"labels": label}, "spec": {"terminationGracePeriodSeconds": 90}}
    metadata = {**shop._asdict(), "uid": "shop", "labels": label}
    spec = {"replicas": 1, "template": template}
    harness.cluster._store("deployments", {"metadata": metadata | {"generation": 1}, "spec": spec})
    reference = {"deploymentRef": {"name": shop.name}, "protocol": "Plain", "taskTimeoutSeconds": 60}
    await harness.apply(worker=reference, scaling=SCALING | {"minReplicas": 1})
    harness.cluster.run_pods(shop)
    (name,) = harness.cluster.pods
    terminate(harness, name)
    change(harness, name, {"phase": "Failed"} | container({"terminated": {"exitCode": 137}}))
    await harness.settle(30)
    assert scaling_active(harness) == ("True", "WorkersInterrupted")
    harness.cluster.remove("pods", name)
    await harness.settle(30)
    assert scaling_active(harness) == ("True", "WorkersInterrupted"), "nothing has changed since"
    owner = {"kind": "ReplicaSet", "name": "shop-worker-9c1b", "uid": "corrected", "controller": True}
    next_one = {**name._asdict(), "uid": "next", "labels": label, "ownerReferences": [owner]}
    harness.cluster._store("pods", {"metadata": next_one, "spec": {}, "status": READY})
    await harness.settle(30)
    assert scaling_active(harness)[1] != "WorkersInterrupted"


async def test_a_worker_that_ends_in_good_order_is_not_named(harness: ControlHarness) -> None:
    name = await start_pod(harness)
    terminate(harness, name)
    change(harness, name, {"phase": "Succeeded"} | container({"terminated": {"exitCode": 0}}))
    await harness.settle(30)
    assert ("removed", "interrupted") not in harness.telemetry.events
    assert scaling_active(harness)[1] != "WorkersInterrupted"


async def test_the_connections_of_an_idle_worker_that_consumes_after_sigterm_are_closed(
    harness: ControlHarness,
) -> None:
    """Otherwise it would take messages until it is killed. A busy one keeps its connection until it is idle."""
    name = await start_pod(harness)
    consumes(harness, "thumbnails", unacked=1)
    terminate(harness, name)
    await harness.settle(60)
    assert harness.broker.closed_connections == []
    assert scaling_active(harness) == ("True", "WorkersInterrupted")
    assert harness.telemetry.events.count(("removed", "interrupted")) == 1
    consumes(harness, "thumbnails")
    await harness.settle(10)
    assert set(harness.broker.closed_connections) == {"a connection"}


async def test_a_worker_has_six_seconds_after_sigterm_to_stop_before_its_connections_are_closed(
    harness: ControlHarness,
) -> None:
    """It may have taken a task that the figures of the broker, which are 5 s old, do not show yet."""
    name = await start_pod(harness)
    consumes(harness, "thumbnails")
    await harness.settle(10)
    terminate(harness, name)
    await harness.settle(5)
    assert harness.broker.closed_connections == []
    await harness.settle(15)
    assert set(harness.broker.closed_connections) == {"a connection"}


async def test_other_queues_that_workers_consume_are_named(harness: ControlHarness) -> None:
    await start_pod(harness)
    consumes(harness, "thumbnails", "thumbnails.DQ", "emails")
    await harness.settle(70)
    assert scaling_active(harness) == ("True", "OtherQueuesConsumed")
    assert_approved("workers.other_queues", harness.cluster.condition("ScalingActive")["message"])
    consumes(harness, "thumbnails")
    await harness.settle(130)
    assert scaling_active(harness)[1] != "OtherQueuesConsumed"


async def test_a_pod_that_has_only_the_label_is_no_worker(harness: ControlHarness) -> None:
    name = await start_pod(harness)
    stray = copy.deepcopy(harness.cluster.pods[name])
    stray["metadata"] |= {"name": "stray", "uid": "stray", "labels": {LABEL_NAME: KEY.name}, "ownerReferences": []}
    harness.cluster._store("pods", stray)
    await harness.settle()
    await harness.apply(worker=WORKER, deletionPolicy="Delete", scaling=SCALING)
    harness.cluster.delete(KEY)
    await harness.settle(5)
    harness.cluster.run_pods(KEY, 0)
    harness.cluster._store("pods", stray)
    await harness.settle(20)
    assert KEY not in harness.cluster.taskqueues


async def test_workers_that_hold_messages_and_finish_nothing_are_named(harness: ControlHarness) -> None:
    """Three Celery tasks with an ETA hold all workers while four others wait."""
    harness.broker.depths["thumbnails"] = (4, 3)
    await harness.apply(worker=WORKER, scaling=SCALING)
    await harness.settle(10)
    harness.cluster.run_pods(KEY)
    await harness.settle(100)
    assert harness.replicas() == 3
    assert scaling_active(harness)[1] != "NothingFinished"
    await harness.settle(40)
    assert scaling_active(harness) == ("True", "NothingFinished")
    assert_approved("workers.nothing_finished", harness.cluster.condition("ScalingActive")["message"])
    harness.broker.depths["thumbnails"] = (3, 3)
    await harness.settle(10)
    assert scaling_active(harness)[1] != "NothingFinished"
