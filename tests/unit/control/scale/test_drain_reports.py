"""What the status says of a scale-in that waits or is refused."""

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest

from taskqueue_operator.control.ports import Body
from taskqueue_operator.drain.protocol import State
from taskqueue_operator.resource.faults import Fault, Reason
from taskqueue_operator.resource.names import DELETION_COST, Key
from tests.approved import assert_approved
from tests.unit.control.control_harness import ControlHarness, cancel
from tests.unit.control.fake_cluster import KEY

from .five_workers import AT_ONCE, start_five_draining, start_five_workers

pytestmark = pytest.mark.looptime


@pytest.mark.slow
async def test_a_condition_names_workers_that_do_not_report(harness: ControlHarness) -> None:
    workers = await start_five_workers(harness)
    for worker in workers.of(KEY):
        worker.silent = True
        worker.in_flight = 0
    harness.broker.depths["thumbnails"] = (0, 0)
    await harness.settle(200)
    condition = harness.cluster.condition("ScalingActive")
    assert (condition["status"], condition["reason"]) == ("True", "WorkersNotReporting")
    assert condition["message"].startswith("5 workers (thumbnails-")
    harness.broker.alarms_ = frozenset({"memory"})
    await harness.settle(20)
    assert harness.cluster.condition("ScalingActive")["reason"] == "BrokerAlarm", "it blocks the reports"


@pytest.mark.slow
async def test_foreign_deletion_costs_are_reported_and_not_overwritten(harness: ControlHarness) -> None:
    workers = await start_five_workers(harness, minReplicas=5)
    for worker in workers.of(KEY):
        await harness.cluster.annotate_pod(worker.key, {DELETION_COST: "-2147483648"}, uid=worker.pod)
    await harness.settle(31)
    condition = harness.cluster.condition("ScalingActive")
    assert (condition["status"], condition["reason"]) == ("True", "DeletionCostConflict")
    assert f"{DELETION_COST} on 5 workers (thumbnails-" in condition["message"]
    await harness.apply(scaling={"maxReplicas": 20, "behavior": AT_ONCE, "idleSeconds": 0})
    await harness.settle(31)
    costs = {pod["metadata"]["annotations"][DELETION_COST] for pod in harness.cluster.pods.values()}
    assert costs == {"-2147483648"}
    assert {worker.in_flight for worker in workers.removed} == {0}
    assert len(workers.of(KEY)) == 1


@pytest.mark.slow
async def test_a_stuck_rollout_is_reported(harness: ControlHarness) -> None:
    await start_five_workers(harness, minReplicas=5)
    await cancel(harness.tasks.pop())  # it would restore the status of the Deployment
    deployment = harness.cluster.deployments[KEY]
    stuck = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    harness.cluster._store("deployments", deployment | {"status": deployment["status"] | {"conditions": [stuck]}})
    await harness.settle(31)
    assert harness.cluster.condition("ScalingActive")["reason"] == "RolloutStuck"


@pytest.mark.slow
async def test_a_refused_scale_in_is_reported_and_retried_with_backoff(
    harness: ControlHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = await start_five_workers(harness)
    refused, scale = Counter[Key](), harness.cluster.scale

    async def refuse(key: Key, *, replicas: int, generation: int, drain_token: str = "", **others: str) -> Body:
        if not drain_token:
            return await scale(key, replicas=replicas, generation=generation, **others)
        refused[key] += 1
        await asyncio.sleep(0.01)
        raise Fault(Reason.API_UNAVAILABLE, "Kubernetes: policy denies it.")

    monkeypatch.setattr(harness.cluster, "scale", refuse)
    harness.cluster.watches[-1] = delayed_watch(harness.cluster.watches[-1])
    workers.of(KEY)[0].in_flight = 0
    harness.broker.depths["thumbnails"] = (0, 0)
    await harness.settle(100)
    assert 2 < refused[KEY] < 60
    assert harness.cluster.condition("Ready")["message"] == "Kubernetes: policy denies it."
    monkeypatch.undo()
    await harness.settle(60)
    assert workers.of(KEY) == []
    assert harness.cluster.condition("Ready")["status"] == "True"


@pytest.mark.slow
async def test_a_write_that_failed_once_is_not_reported_while_tasks_delay_the_scale_in(
    harness: ControlHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = await start_five_workers(harness)
    failures, write = (
        iter([Fault(Reason.API_UNAVAILABLE, "Kubernetes does not answer.")]),
        harness.cluster.set_drain_token,
    )

    async def fail_once(key: Key, token: str, *, taskqueue: str, generation: int) -> Body:
        for failure in failures:
            raise failure
        return await write(key, token, taskqueue=taskqueue, generation=generation)

    monkeypatch.setattr(harness.cluster, "set_drain_token", fail_once)
    for worker in workers.of(KEY):
        worker.in_flight = 1
    harness.broker.depths["thumbnails"] = (0, 5)
    await harness.apply(scaling={"maxReplicas": 1, "behavior": AT_ONCE})
    await harness.settle(60)
    assert next(failures, None) is None
    assert Counter(worker.state for worker in workers.of(KEY)) == {State.DRAINING: 4, State.CONSUMING: 1}
    assert harness.cluster.condition("Ready")["status"] == "True"


def delayed_watch(show: Callable[[str, Body, bool], None]) -> Callable[[str, Body, bool], None]:
    """Return a watch with a delay: the event of a write arrives during the next write."""

    def show_delayed(kind: str, body: Body, deleted: bool) -> None:  # noqa: FBT001  the shape of a watch
        asyncio.get_running_loop().call_later(0.003, show, kind, body, deleted)

    return show_delayed


@pytest.mark.slow
async def test_a_long_wait_for_tasks_is_reported(harness: ControlHarness) -> None:
    await start_five_draining(harness)
    await harness.settle(41)
    condition = harness.cluster.condition("ScalingActive")
    assert (condition["status"], condition["reason"]) == ("True", "ScaleInWaiting")
    assert_approved("scale_in.waiting_for_tasks", condition["message"])
