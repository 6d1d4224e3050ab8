"""Workers are removed by the drain protocol: no task is interrupted, and needed workers are undrained."""

import asyncio
from collections import Counter

import pytest

from taskqueue_operator.control.ports import Body
from taskqueue_operator.drain.protocol import State
from taskqueue_operator.resource.faults import Fault, Reason
from taskqueue_operator.resource.names import ANNOTATION_DRAIN
from tests.unit.control.control_harness import ControlHarness
from tests.unit.control.fake_broker import UNREACHABLE
from tests.unit.control.fake_cluster import KEY

from .five_workers import start_five_draining, start_five_workers

pytestmark = pytest.mark.looptime


def drain_token(harness: ControlHarness) -> str | None:
    found: str | None = harness.cluster.deployments[KEY]["metadata"].get("annotations", {}).get(ANNOTATION_DRAIN)
    return found


@pytest.mark.slow
async def test_idle_workers_are_removed_and_a_busy_worker_stays_until_its_task_ends(harness: ControlHarness) -> None:
    workers = await start_five_workers(harness)
    busy = workers.of(KEY)[0]
    await harness.settle(40)
    assert workers.of(KEY) == [busy]
    busy.in_flight = 0
    harness.broker.depths["thumbnails"] = (0, 0)
    await harness.settle(60)
    assert workers.of(KEY) == []
    assert [worker.in_flight for worker in workers.removed] == [0] * 5
    assert {worker.state for worker in workers.removed} == {State.DRAINED}
    assert Counter(event for event in harness.telemetry.events if event[0] == "removed") == {("removed", "drained"): 5}


async def test_a_pod_that_another_client_deletes_is_not_recorded_as_removed(harness: ControlHarness) -> None:
    workers = await start_five_workers(harness, minReplicas=5)
    deleted = workers.by_pod.pop(workers.of(KEY)[0].key)
    harness.cluster.remove("pods", deleted.key)
    await harness.settle(10)
    assert len(workers.of(KEY)) == 5
    assert [event for event in harness.telemetry.events if event[0] == "removed"] == []


async def test_the_commands_of_a_plan_are_sent_in_one_go(harness: ControlHarness) -> None:
    await start_five_workers(harness)
    await harness.settle(20)
    assert 4 in [len(commands) for commands in harness.broker.last_control_channel.sent_together]


@pytest.mark.slow
async def test_a_scale_in_to_zero_is_recorded_like_any_other(harness: ControlHarness) -> None:
    workers = await start_five_workers(harness)
    workers.of(KEY)[0].in_flight = 0
    harness.broker.depths["thumbnails"] = (0, 0)
    await harness.settle(60)
    assert workers.of(KEY) == []
    assert [event[3] for event in harness.telemetry.events if event[0] == "scaled"][-1] == 0


@pytest.mark.slow
async def test_the_drain_token_is_removed_when_no_worker_is_drained(harness: ControlHarness) -> None:
    workers = await start_five_workers(harness)
    await harness.settle(40)
    assert len(workers.of(KEY)) == 1
    assert drain_token(harness) is None


@pytest.mark.slow
async def test_a_lower_maximum_interrupts_no_task(harness: ControlHarness) -> None:
    workers = await start_five_workers(harness)
    for worker in workers.of(KEY):
        worker.in_flight = 1
    harness.broker.depths["thumbnails"] = (100, 5)
    await harness.apply(scaling={"maxReplicas": 2})
    await harness.settle(120)
    assert harness.replicas() == 5
    draining = [worker for worker in workers.of(KEY) if worker.state is State.DRAINING]
    assert len(draining) == 3, "other workers continue to consume"
    draining[0].in_flight = 0
    await harness.settle(10)
    assert harness.replicas() == 4
    assert [worker.in_flight for worker in workers.removed] == [0]


@pytest.mark.slow
async def test_draining_workers_consume_again_at_once_when_they_are_needed(harness: ControlHarness) -> None:
    workers = await start_five_workers(harness, minReplicas=1)
    for worker in workers.of(KEY):
        worker.in_flight = 1
    harness.broker.depths["thumbnails"] = (95, 5)
    await harness.apply(scaling={"maxReplicas": 2})
    await harness.settle(60)
    assert sum(worker.state is State.DRAINING for worker in workers.of(KEY)) == 3
    await harness.apply(scaling={"maxReplicas": 20})
    await harness.settle(3)
    assert {worker.state for worker in workers.of(KEY)} == {State.CONSUMING}
    assert harness.replicas() == 5
    assert workers.removed == []
    await harness.settle(30)
    assert drain_token(harness) is None


@pytest.mark.slow
async def test_workers_that_do_not_report_are_not_removed(harness: ControlHarness) -> None:
    workers = await start_five_workers(harness)
    for worker in workers.of(KEY):
        worker.silent = True
        worker.in_flight = 0
    harness.broker.depths["thumbnails"] = (0, 0)
    await harness.settle(300)
    assert harness.replicas() == 5


@pytest.mark.slow
async def test_no_worker_is_removed_while_the_broker_is_unreachable_and_drain_leases_expire(
    harness: ControlHarness,
) -> None:
    workers = await start_five_workers(harness)
    for worker in workers.of(KEY):
        worker.in_flight = 1
    await harness.apply(scaling={"maxReplicas": 2})
    await harness.settle(30)
    harness.broker.fault = UNREACHABLE
    await harness.settle(120)
    assert harness.replicas() == 5
    for worker in workers.of(KEY):
        worker.report_due()
    assert {worker.state for worker in workers.of(KEY)} == {State.CONSUMING}


@pytest.mark.slow
async def test_a_new_leader_completes_a_scale_in(harness: ControlHarness) -> None:
    workers = await start_five_workers(harness)
    for worker in workers.of(KEY):
        worker.in_flight = 1
    harness.broker.depths["thumbnails"] = (0, 5)
    await harness.apply(scaling={"maxReplicas": 2})
    await harness.settle(30)
    await harness.restart()
    await harness.settle(60)
    assert harness.replicas() == 5
    for worker in workers.of(KEY):
        worker.in_flight = 0
    harness.broker.depths["thumbnails"] = (0, 0)
    await harness.settle(120)
    assert workers.of(KEY) == []
    assert [worker.in_flight for worker in workers.removed] == [0] * 5


@pytest.mark.slow
async def test_a_dry_run_undrains_all_workers(harness: ControlHarness) -> None:
    workers = await start_five_workers(harness)
    for worker in workers.of(KEY):
        worker.in_flight = 1
    await harness.apply(scaling={"maxReplicas": 2})
    await harness.settle(30)
    await harness.apply(scaling={"maxReplicas": 2, "mode": "DryRun"})
    await harness.settle(5)
    assert {worker.state for worker in workers.of(KEY)} == {State.CONSUMING}
    await asyncio.sleep(60)
    assert drain_token(harness) is None


@pytest.mark.slow
async def test_fresh_reports_are_requested_before_candidates_are_selected(harness: ControlHarness) -> None:
    workers = await start_five_workers(harness, minReplicas=5)
    await harness.settle(7)
    busy = workers.of(KEY)[:4]
    for worker in workers.of(KEY):
        worker.in_flight = int(worker in busy)
    harness.broker.depths["thumbnails"] = (0, 4)
    await harness.apply(scaling={"maxReplicas": 4, "minReplicas": 4})
    await harness.settle(10)
    assert workers.of(KEY) == busy
    assert {worker.state for worker in busy} == {State.CONSUMING}, "no busy worker was drained"
    assert workers.commands["report"] >= 4


@pytest.mark.slow
async def test_a_refused_deletion_cost_or_drain_token_delays_no_scale_out(
    harness: ControlHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object, **__: object) -> Body:
        raise Fault(Reason.API_UNAVAILABLE, "Kubernetes: policy denies it.")

    workers = await start_five_draining(harness)
    for write in ("annotate_pod", "set_drain_token"):
        monkeypatch.setattr(harness.cluster, write, refuse)
    await harness.apply(scaling={"maxReplicas": 20})
    harness.broker.depths["thumbnails"] = (400, 5)
    await harness.settle(20)
    assert harness.replicas() == 20
    assert all(worker.drain is None for worker in workers.of(KEY))


@pytest.mark.slow
async def test_a_dry_run_adds_no_worker_while_others_drain(harness: ControlHarness) -> None:
    await start_five_draining(harness)
    deployment = harness.cluster.deployments[KEY]
    harness.tasks.pop().cancel()
    harness.cluster._store("deployments", deployment | {"status": deployment["status"] | {"replicas": 9}})
    before = harness.replicas()
    await harness.apply(scaling={"maxReplicas": 20, "mode": "DryRun"})
    await harness.settle(20)
    assert harness.replicas() == before
