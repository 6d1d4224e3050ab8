"""Workers that keep no protocol go by what the broker shows of them."""

from itertools import pairwise

import pytest

from taskqueue_operator.control.observe.consumer_poller import POLL_PERIOD_SECONDS
from taskqueue_operator.drain.plain import UNPROVEN_REMOVAL_INTERVAL
from taskqueue_operator.drain.protocol import State
from taskqueue_operator.resource.names import ANNOTATION_DRAIN, Key
from tests.approved import assert_approved
from tests.unit.control.conftest import World
from tests.unit.control.fake_broker import FORBIDDEN, GONE_AWAY
from tests.unit.control.fake_cluster import KEY, taskqueue
from tests.unit.control.fake_workers import FakeWorkers

pytestmark = [pytest.mark.looptime, pytest.mark.slow]

SCALING = {"maxReplicas": 20, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}, "idleSeconds": 0}
OTHER = Key("media", "other")


def plain(**said: object) -> dict[str, object]:
    return {"image": "acme/app:1.4", "protocol": "Plain"} | said


LATE = plain(acksLate=True)


async def five_at_work(world: World, worker: dict[str, object] = LATE) -> FakeWorkers:
    """Five workers, one of which runs a task."""
    workers = world.staff()
    await world.has(worker=worker, scaling=SCALING)
    world.broker.depths["thumbnails"] = (100, 0)
    await world.settle(20)
    assert len(workers.of(KEY)) == 5
    workers.of(KEY)[0].in_flight = 1
    world.broker.depths["thumbnails"] = (0, 1)
    return workers


async def test_idle_workers_go_and_the_busy_one_stays_until_its_task_has_ended(world: World) -> None:
    workers = await five_at_work(world)
    busy = workers.of(KEY)[0]
    await world.settle(60)
    assert workers.of(KEY) == [busy]
    busy.in_flight = 0
    world.broker.depths["thumbnails"] = (0, 0)
    await world.settle(60)
    assert workers.of(KEY) == []
    assert [each.in_flight for each in workers.removed] == [0] * 5
    assert world.telemetry.told.count(("removed", "idle")) == 5
    assert ANNOTATION_DRAIN not in world.cluster.deployments[KEY]["metadata"]["annotations"]


async def test_nobody_is_asked_or_listened_to(world: World) -> None:
    workers = await five_at_work(world)
    await world.settle(60)
    assert len(workers.of(KEY)) == 1
    assert (world.broker.conversation.listens, world.broker.conversation.sent) == (set(), [])
    assert {each.state for each in workers.removed} == {State.CONSUMING}


async def test_looks_are_taken_only_while_workers_are_to_go(world: World) -> None:
    await five_at_work(world)
    assert world.broker.looks == []
    await world.settle(60)
    taken = len(world.broker.looks)
    assert taken >= 2
    await world.settle(300)
    assert len(world.broker.looks) == taken


async def test_one_look_serves_all_who_share_a_broker(world: World) -> None:
    workers = await five_at_work(world)
    world.cluster.put(taskqueue(OTHER, worker=LATE, scaling=SCALING))
    await world.settle()
    world.broker.depths["other"] = (100, 0)
    await world.settle(20)
    for worker in workers.there.values():
        worker.in_flight = 1
    world.broker.depths |= {"thumbnails": (0, 1), "other": (0, 1)}
    world.broker.looks.clear()
    await world.settle(120)
    assert len(workers.there) > 2
    assert all(later - earlier >= POLL_PERIOD_SECONDS for earlier, later in pairwise(world.broker.looks))
    assert len(world.broker.looks) > 10


async def test_who_takes_a_message_again_and_again_is_not_idle(world: World) -> None:
    workers = await five_at_work(world)
    for worker in workers.of(KEY):
        worker.in_flight = 1
    for _ in range(30):
        worker = workers.of(KEY)[1]
        worker.in_flight = 1 - worker.in_flight
        await world.settle(POLL_PERIOD_SECONDS)
    assert len(workers.of(KEY)) == 5


async def test_who_cannot_be_found_at_the_broker_stays_and_is_named(world: World) -> None:
    workers = await five_at_work(world)
    for worker in workers.of(KEY):
        worker.in_flight, worker.translated = 0, True
    world.broker.depths["thumbnails"] = (0, 0)
    await world.settle(200)
    assert world.replicas() == 5
    told = world.cluster.condition("ScalingActive")
    assert (told["status"], told["reason"]) == ("True", "IdlenessUnknown")
    assert told["message"].startswith("5 workers (")
    assert "the tag monitoring" in told["message"]


async def test_nobody_goes_while_the_broker_is_away(world: World) -> None:
    workers = await five_at_work(world)
    world.broker.fault = GONE_AWAY
    await world.settle(120)
    assert len(workers.of(KEY)) == 5


async def test_nobody_goes_and_it_is_said_why_when_nobody_may_be_looked_at(world: World) -> None:
    workers = await five_at_work(world)
    world.broker.hidden = FORBIDDEN
    await world.settle(120)
    assert len(workers.of(KEY)) == 5
    told = world.cluster.condition("ScalingActive")
    assert (told["reason"], told["message"]) == ("IdlenessUnknown", f"No worker is removed: {FORBIDDEN.message}")
    assert world.cluster.condition("Ready")["status"] == "True"


@pytest.mark.parametrize("worker", [plain(), plain(acksLate=False)], ids=["unsaid", "denied"])
async def test_without_late_acknowledgements_they_go_one_by_one_and_it_is_said(
    world: World, worker: dict[str, object]
) -> None:
    await five_at_work(world, worker)
    told = world.cluster.condition("ScalingActive")
    assert (told["status"], told["reason"]) == ("True", "IdlenessUnknown")
    assert_approved("scale_in.idleness_unknown", told["message"])
    counts = []
    for _ in range(80):
        await world.settle(1)
        counts.append(world.replicas())
    assert counts[-1] == 1
    changes = [second for second, (before, after) in enumerate(pairwise(counts)) if before != after]
    assert [before - after for before, after in pairwise(counts) if before != after] == [1, 1, 1, 1]
    assert all(later - earlier >= UNPROVEN_REMOVAL_INTERVAL.total_seconds() for earlier, later in pairwise(changes))
    assert world.broker.looks == [], "they would show nothing"


async def test_whether_they_acknowledge_late_can_be_said_without_a_rollout(world: World) -> None:
    await five_at_work(world, plain())
    applied = len(world.cluster.written("deployment"))
    await world.has(worker=LATE, scaling=SCALING)
    await world.settle(30)
    assert len(world.cluster.written("deployment")) == applied
    assert world.cluster.condition("ScalingActive")["reason"] == "Ready"


async def test_an_operator_that_takes_over_in_the_middle_goes_on(world: World) -> None:
    workers = await five_at_work(world)
    await world.settle(4)
    await world.restart()
    await world.settle(120)
    assert [each.in_flight for each in workers.of(KEY)] == [1]
    assert [each.in_flight for each in workers.removed] == [0] * 4
