"""Workers go by the drain protocol: none of them is cut, and those that are needed again come back."""

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest

from taskqueue_operator.control.ports import Body
from taskqueue_operator.drain.protocol import State
from taskqueue_operator.resource.faults import Fault, Reason
from taskqueue_operator.resource.names import ANNOTATION_DRAIN, DELETION_COST, Key
from tests.approved import assert_approved
from tests.unit.control.conftest import World, stop
from tests.unit.control.fake_broker import GONE_AWAY
from tests.unit.control.fake_cluster import KEY
from tests.unit.control.fake_workers import FakeWorkers

pytestmark = pytest.mark.looptime

AT_ONCE = {"scaleDown": {"stabilizationWindowSeconds": 0}}


async def five_at_work(world: World, **scaling: object) -> FakeWorkers:
    """Five workers, one of which runs a task."""
    workers = world.staff()
    await world.has(scaling={"maxReplicas": 20, "behavior": AT_ONCE, "idleSeconds": 0} | scaling)
    world.broker.depths["thumbnails"] = (100, 0)
    await world.settle(20)
    assert len(workers.of(KEY)) == 5
    workers.of(KEY)[0].in_flight = 1
    world.broker.depths["thumbnails"] = (0, 1)
    return workers


def mark(world: World) -> str | None:
    found: str | None = world.cluster.deployments[KEY]["metadata"].get("annotations", {}).get(ANNOTATION_DRAIN)
    return found


async def test_idle_workers_go_and_the_busy_one_stays_until_its_task_has_ended(world: World) -> None:
    workers = await five_at_work(world)
    busy = workers.of(KEY)[0]
    await world.settle(40)
    assert workers.of(KEY) == [busy]
    busy.in_flight = 0
    world.broker.depths["thumbnails"] = (0, 0)
    await world.settle(60)
    assert workers.of(KEY) == []
    assert [each.in_flight for each in workers.removed] == [0] * 5
    assert {each.state for each in workers.removed} == {State.DRAINED}
    assert Counter(told for told in world.telemetry.told if told[0] == "removed") == {("removed", "drained"): 5}


async def test_nobody_stays_marked_when_nobody_is_drained(world: World) -> None:
    workers = await five_at_work(world)
    await world.settle(40)
    assert len(workers.of(KEY)) == 1
    assert mark(world) is None


async def test_a_lower_maximum_cuts_nobody(world: World) -> None:
    workers = await five_at_work(world)
    for worker in workers.of(KEY):
        worker.in_flight = 1
    world.broker.depths["thumbnails"] = (100, 5)
    await world.has(scaling={"maxReplicas": 2})
    await world.settle(120)
    assert world.replicas() == 5
    draining = [each for each in workers.of(KEY) if each.state is State.DRAINING]
    assert len(draining) == 3, "the others go on consuming"
    draining[0].in_flight = 0
    await world.settle(10)
    assert world.replicas() == 4
    assert [each.in_flight for each in workers.removed] == [0]


async def test_who_is_needed_again_comes_back_at_once(world: World) -> None:
    workers = await five_at_work(world, minReplicas=1)
    for worker in workers.of(KEY):
        worker.in_flight = 1
    world.broker.depths["thumbnails"] = (100, 5)
    await world.has(scaling={"maxReplicas": 2})
    await world.settle(60)
    assert sum(each.state is State.DRAINING for each in workers.of(KEY)) == 3
    await world.has(scaling={"maxReplicas": 20})
    await world.settle(3)
    assert {each.state for each in workers.of(KEY)} == {State.CONSUMING}
    assert world.replicas() == 5
    assert workers.removed == []
    await world.settle(30)
    assert mark(world) is None


async def test_workers_that_do_not_report_stay(world: World) -> None:
    workers = await five_at_work(world)
    for worker in workers.of(KEY):
        worker.silent = True
        worker.in_flight = 0
    world.broker.depths["thumbnails"] = (0, 0)
    await world.settle(300)
    assert world.replicas() == 5


async def test_nobody_goes_while_the_broker_is_away_and_leases_end_by_themselves(world: World) -> None:
    workers = await five_at_work(world)
    for worker in workers.of(KEY):
        worker.in_flight = 1
    await world.has(scaling={"maxReplicas": 2})
    await world.settle(30)
    world.broker.fault = GONE_AWAY
    await world.settle(120)
    assert world.replicas() == 5
    for worker in workers.of(KEY):
        worker.due()
    assert {each.state for each in workers.of(KEY)} == {State.CONSUMING}


async def test_an_operator_that_takes_over_in_the_middle_goes_on(world: World) -> None:
    workers = await five_at_work(world)
    for worker in workers.of(KEY):
        worker.in_flight = 1
    world.broker.depths["thumbnails"] = (0, 5)
    await world.has(scaling={"maxReplicas": 2})
    await world.settle(30)
    await world.restart()
    await world.settle(60)
    assert world.replicas() == 5
    for worker in workers.of(KEY):
        worker.in_flight = 0
    world.broker.depths["thumbnails"] = (0, 0)
    await world.settle(120)
    assert workers.of(KEY) == []
    assert [each.in_flight for each in workers.removed] == [0] * 5


async def test_a_dry_run_lets_nobody_stay_drained(world: World) -> None:
    workers = await five_at_work(world)
    for worker in workers.of(KEY):
        worker.in_flight = 1
    await world.has(scaling={"maxReplicas": 2})
    await world.settle(30)
    await world.has(scaling={"maxReplicas": 2, "mode": "DryRun"})
    await world.settle(5)
    assert {each.state for each in workers.of(KEY)} == {State.CONSUMING}
    await asyncio.sleep(60)
    assert mark(world) is None


async def test_workers_that_do_not_report_are_named(world: World) -> None:
    workers = await five_at_work(world)
    for worker in workers.of(KEY):
        worker.silent = True
        worker.in_flight = 0
    world.broker.depths["thumbnails"] = (0, 0)
    await world.settle(200)
    told = world.cluster.condition("ScalingActive")
    assert (told["status"], told["reason"]) == ("True", "WorkersNotReporting")
    assert told["message"].startswith("5 workers (thumbnails-")


async def test_who_is_idle_is_asked_before_anybody_is_chosen(world: World) -> None:
    workers = await five_at_work(world, minReplicas=5)
    await world.settle(7)
    busy = workers.of(KEY)[:4]
    for worker in workers.of(KEY):
        worker.in_flight = int(worker in busy)
    world.broker.depths["thumbnails"] = (0, 4)
    await world.has(scaling={"maxReplicas": 4, "minReplicas": 4})
    await world.settle(10)
    assert workers.of(KEY) == busy
    assert {each.state for each in busy} == {State.CONSUMING}, "none of them was asked to go"
    assert workers.told["report"] >= 4


async def test_deletion_costs_of_somebody_else_are_named_and_left_alone(world: World) -> None:
    workers = await five_at_work(world, minReplicas=5)
    for worker in workers.of(KEY):
        await world.cluster.annotate_pod(worker.key, {DELETION_COST: "-2147483648"}, uid=worker.pod)
    await world.settle(31)
    told = world.cluster.condition("ScalingActive")
    assert (told["status"], told["reason"]) == ("True", "DeletionCostConflict")
    assert f"{DELETION_COST} on 5 workers (thumbnails-" in told["message"]
    await world.has(scaling={"maxReplicas": 20, "behavior": AT_ONCE, "idleSeconds": 0})
    await world.settle(31)
    costs = {each["metadata"]["annotations"][DELETION_COST] for each in world.cluster.pods.values()}
    assert costs == {"-2147483648"}
    assert {worker.in_flight for worker in workers.removed} == {0}
    assert len(workers.of(KEY)) == 1


async def test_a_rollout_that_does_not_get_on_is_told(world: World) -> None:
    await five_at_work(world, minReplicas=5)
    await stop(world.tasks.pop())  # it would show the Deployment as it was
    there = world.cluster.deployments[KEY]
    stuck = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    world.cluster._store("deployments", there | {"status": there["status"] | {"conditions": [stuck]}})
    await world.settle(31)
    assert world.cluster.condition("ScalingActive")["reason"] == "RolloutStuck"


async def test_a_lower_number_that_is_refused_is_told_and_not_tried_hot(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = await five_at_work(world)
    refused, scale = Counter[Key](), world.cluster.scale

    async def refuse(key: Key, *, replicas: int, generation: int, drain_token: str = "") -> Body:
        if not drain_token:
            return await scale(key, replicas=replicas, generation=generation)
        refused[key] += 1
        await asyncio.sleep(0.01)
        raise Fault(Reason.API_UNAVAILABLE, "Kubernetes: policy denies it.")

    monkeypatch.setattr(world.cluster, "scale", refuse)
    world.cluster.watches[-1] = late(world.cluster.watches[-1])
    workers.of(KEY)[0].in_flight = 0
    world.broker.depths["thumbnails"] = (0, 0)
    await world.settle(100)
    assert 2 < refused[KEY] < 60
    assert world.cluster.condition("Ready")["message"] == "Kubernetes: policy denies it."
    monkeypatch.undo()
    await world.settle(60)
    assert workers.of(KEY) == []
    assert world.cluster.condition("Ready")["status"] == "True"


def late(show: Callable[[str, Body, bool], None]) -> Callable[[str, Body, bool], None]:
    """Watch with a lag: what a write did is seen while the next one is under way."""

    def show_late(kind: str, body: Body, gone: bool) -> None:  # noqa: FBT001  as the watch has it
        asyncio.get_running_loop().call_later(0.003, show, kind, body, gone)

    return show_late


async def five_that_drain(world: World) -> FakeWorkers:
    """Five workers that all run a task, of which one is to be left."""
    workers = await five_at_work(world)
    for worker in workers.of(KEY):
        worker.in_flight = 1
    world.broker.depths["thumbnails"] = (0, 5)
    await world.has(scaling={"maxReplicas": 1, "behavior": AT_ONCE})
    await world.settle(20)
    assert Counter(worker.state for worker in workers.of(KEY)) == {State.DRAINING: 4, State.CONSUMING: 1}
    return workers


async def test_a_cost_or_an_annotation_that_cannot_be_written_delays_no_scale_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object, **__: object) -> Body:
        raise Fault(Reason.API_UNAVAILABLE, "Kubernetes: policy denies it.")

    workers = await five_that_drain(world)
    for write in ("annotate_pod", "set_drain_token"):
        monkeypatch.setattr(world.cluster, write, refuse)
    await world.has(scaling={"maxReplicas": 20})
    world.broker.depths["thumbnails"] = (400, 5)
    await world.settle(20)
    assert world.replicas() == 20
    assert all(worker.drain is None for worker in workers.of(KEY))


async def test_a_dry_run_adds_no_worker_where_some_are_drained(world: World) -> None:
    await five_that_drain(world)
    there = world.cluster.deployments[KEY]
    world.tasks.pop().cancel()
    world.cluster._store("deployments", there | {"status": there["status"] | {"replicas": 9}})
    before = world.replicas()
    await world.has(scaling={"maxReplicas": 20, "mode": "DryRun"})
    await world.settle(20)
    assert world.replicas() == before


async def test_what_workers_wait_for_is_told_when_it_lasts(world: World) -> None:
    await five_that_drain(world)
    await world.settle(41)
    told = world.cluster.condition("ScalingActive")
    assert (told["status"], told["reason"]) == ("True", "ScaleInWaiting")
    assert_approved("scale_in.waiting_for_tasks", told["message"])
