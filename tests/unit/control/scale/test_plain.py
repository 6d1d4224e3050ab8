"""Workers without the protocol are removed by what the broker shows of their connections."""

from itertools import pairwise

import pytest

from taskqueue_operator.control.observe.consumer_poller import POLL_PERIOD_SECONDS
from taskqueue_operator.drain.plain import UNPROVEN_REMOVAL_INTERVAL
from taskqueue_operator.drain.protocol import State
from taskqueue_operator.resource.names import ANNOTATION_DRAIN, Key
from tests.approved import assert_approved
from tests.unit.control.control_harness import ControlHarness
from tests.unit.control.fake_broker import FORBIDDEN, UNREACHABLE
from tests.unit.control.fake_cluster import KEY, taskqueue
from tests.unit.control.scale.five_workers import SCALING, start_five_workers

pytestmark = [pytest.mark.looptime, pytest.mark.slow]

OTHER = Key("media", "other")


def plain(**fields: object) -> dict[str, object]:
    return {"image": "acme/app:1.4", "protocol": "Plain"} | fields


ACKS_LATE = plain(acksLate=True)


async def test_idle_workers_are_removed_and_a_busy_worker_stays_until_its_task_ends(harness: ControlHarness) -> None:
    workers = await start_five_workers(harness, ACKS_LATE)
    busy = workers.of(KEY)[0]
    await harness.settle(60)
    assert workers.of(KEY) == [busy]
    busy.in_flight = 0
    harness.broker.depths["thumbnails"] = (0, 0)
    await harness.settle(60)
    assert workers.of(KEY) == []
    assert [worker.in_flight for worker in workers.removed] == [0] * 5
    assert harness.telemetry.events.count(("removed", "idle")) == 5
    assert ANNOTATION_DRAIN not in harness.cluster.deployments[KEY]["metadata"]["annotations"]


async def test_plain_workers_get_no_commands_and_no_report_subscription(harness: ControlHarness) -> None:
    workers = await start_five_workers(harness, ACKS_LATE)
    await harness.settle(60)
    assert len(workers.of(KEY)) == 1
    assert (harness.broker.last_control_channel.subscribed, harness.broker.last_control_channel.sent) == (set(), [])
    assert {worker.state for worker in workers.removed} == {State.CONSUMING}


async def test_consumers_are_polled_often_only_during_a_scale_in(harness: ControlHarness) -> None:
    """Otherwise once a minute, to see which queues the workers consume; at zero never."""
    workers = await start_five_workers(harness, ACKS_LATE)
    assert len(harness.broker.consumer_polls) <= 1
    await harness.settle(60)
    taken = len(harness.broker.consumer_polls)
    assert taken >= 3
    await harness.settle(300)
    assert 4 <= len(harness.broker.consumer_polls) - taken <= 6
    workers.of(KEY)[0].in_flight = 0
    harness.broker.depths["thumbnails"] = (0, 0)
    await harness.settle(100)
    assert workers.of(KEY) == []
    taken = len(harness.broker.consumer_polls)
    await harness.settle(300)
    assert len(harness.broker.consumer_polls) == taken


async def test_all_taskqueues_of_a_broker_share_one_consumer_poll(harness: ControlHarness) -> None:
    workers = await start_five_workers(harness, ACKS_LATE)
    harness.cluster.put(taskqueue(OTHER, worker=ACKS_LATE, scaling=SCALING))
    await harness.settle()
    harness.broker.depths["other"] = (100, 0)
    await harness.settle(20)
    for worker in workers.by_pod.values():
        worker.in_flight = 1
    harness.broker.depths |= {"thumbnails": (0, 1), "other": (0, 1)}
    harness.broker.consumer_polls.clear()
    await harness.settle(120)
    assert len(workers.by_pod) > 2
    assert all(later - earlier >= POLL_PERIOD_SECONDS for earlier, later in pairwise(harness.broker.consumer_polls))
    assert len(harness.broker.consumer_polls) > 10


async def test_a_worker_that_receives_messages_repeatedly_is_not_idle(harness: ControlHarness) -> None:
    workers = await start_five_workers(harness, ACKS_LATE)
    for worker in workers.of(KEY):
        worker.in_flight = 1
    for _ in range(30):
        worker = workers.of(KEY)[1]
        worker.in_flight = 1 - worker.in_flight
        await harness.settle(POLL_PERIOD_SECONDS)
    assert len(workers.of(KEY)) == 5


async def test_a_worker_without_a_known_connection_is_not_removed_and_is_reported(harness: ControlHarness) -> None:
    workers = await start_five_workers(harness, ACKS_LATE)
    for worker in workers.of(KEY):
        worker.in_flight, worker.address_translated = 0, True
    harness.broker.depths["thumbnails"] = (0, 0)
    await harness.settle(200)
    assert harness.replicas() == 5
    condition = harness.cluster.condition("ScalingActive")
    assert (condition["status"], condition["reason"]) == ("True", "IdlenessUnknown")
    assert condition["message"].startswith("5 workers (")


async def test_no_worker_is_removed_while_the_broker_is_unreachable(harness: ControlHarness) -> None:
    workers = await start_five_workers(harness, ACKS_LATE)
    harness.broker.fault = UNREACHABLE
    await harness.settle(120)
    assert len(workers.of(KEY)) == 5


async def test_no_worker_is_removed_without_permission_to_list_consumers_and_this_is_reported(
    harness: ControlHarness,
) -> None:
    workers = await start_five_workers(harness, ACKS_LATE)
    harness.broker.consumer_fault = FORBIDDEN
    await harness.settle(120)
    assert len(workers.of(KEY)) == 5
    condition = harness.cluster.condition("ScalingActive")
    assert condition["reason"] == "IdlenessUnknown"
    assert FORBIDDEN.message in condition["message"]
    assert harness.cluster.condition("Ready")["status"] == "True"


@pytest.mark.parametrize("worker", [plain(), plain(acksLate=False)], ids=["unsaid", "denied"])
async def test_without_late_acknowledgements_workers_are_removed_one_by_one_and_this_is_reported(
    harness: ControlHarness, worker: dict[str, object]
) -> None:
    await start_five_workers(harness, worker)
    condition = harness.cluster.condition("ScalingActive")
    assert (condition["status"], condition["reason"]) == ("True", "IdlenessUnknown")
    assert_approved("scale_in.idleness_unknown", condition["message"])
    counts = []
    for _ in range(80):
        await harness.settle(1)
        counts.append(harness.replicas())
    assert counts[-1] == 1
    changes = [second for second, (before, after) in enumerate(pairwise(counts)) if before != after]
    assert [before - after for before, after in pairwise(counts) if before != after] == [1, 1, 1, 1]
    assert all(later - earlier >= UNPROVEN_REMOVAL_INTERVAL.total_seconds() for earlier, later in pairwise(changes))
    assert len(harness.broker.consumer_polls) <= 3, "more would prove nothing"


async def test_a_change_of_acks_late_starts_no_rollout(harness: ControlHarness) -> None:
    await start_five_workers(harness, plain())
    applied = len(harness.cluster.written("deployment"))
    await harness.apply(worker=ACKS_LATE, scaling=SCALING)
    await harness.settle(30)
    assert len(harness.cluster.written("deployment")) == applied
    assert harness.cluster.condition("ScalingActive")["reason"] == "Ready"


async def test_a_new_leader_completes_a_scale_in(harness: ControlHarness) -> None:
    workers = await start_five_workers(harness, ACKS_LATE)
    await harness.settle(4)
    await harness.restart()
    await harness.settle(120)
    assert [worker.in_flight for worker in workers.of(KEY)] == [1]
    assert [worker.in_flight for worker in workers.removed] == [0] * 4
