"""Workers are removed by the drain protocol: no task is interrupted, and needed workers are undrained."""

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest

from taskqueue_operator.control.ports import Body
from taskqueue_operator.drain.protocol import State
from taskqueue_operator.resource.faults import Fault, Reason
from taskqueue_operator.resource.names import ANNOTATION_DRAIN, DELETION_COST, Key
from tests.approved import assert_approved
from tests.unit.control.control_harness import ControlHarness, cancel
from tests.unit.control.fake_broker import UNREACHABLE
from tests.unit.control.fake_cluster import KEY
from tests.unit.control.fake_workers import FakeWorkers

pytestmark = pytest.mark.looptime

AT_ONCE = {"scaleDown": {"stabilizationWindowSeconds": 0}}


async def start_five_workers(harness: ControlHarness, **scaling: object) -> FakeWorkers:
    """Start five workers, of which one runs a task."""
    workers = harness.start_workers()
    await harness.apply(scaling={"maxReplicas": 20, "behavior": AT_ONCE, "idleSeconds": 0} | scaling)
    harness.broker.depths["thumbnails"] = (100, 0)
    await harness.settle(20)
    assert len(workers.of(KEY)) == 5
    workers.of(KEY)[0].in_flight = 1
    harness.broker.depths["thumbnails"] = (0, 1)
    return workers


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

    async def fail_once(key: Key, token: str, *, generation: int) -> Body:
        for failure in failures:
            raise failure
        return await write(key, token, generation=generation)

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


async def start_five_draining(harness: ControlHarness) -> FakeWorkers:
    """Start five workers that all run a task, of which four drain."""
    workers = await start_five_workers(harness)
    for worker in workers.of(KEY):
        worker.in_flight = 1
    harness.broker.depths["thumbnails"] = (0, 5)
    await harness.apply(scaling={"maxReplicas": 1, "behavior": AT_ONCE})
    await harness.settle(20)
    assert Counter(worker.state for worker in workers.of(KEY)) == {State.DRAINING: 4, State.CONSUMING: 1}
    return workers


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


@pytest.mark.slow
async def test_a_long_wait_for_tasks_is_reported(harness: ControlHarness) -> None:
    await start_five_draining(harness)
    await harness.settle(41)
    condition = harness.cluster.condition("ScalingActive")
    assert (condition["status"], condition["reason"]) == ("True", "ScaleInWaiting")
    assert_approved("scale_in.waiting_for_tasks", condition["message"])
