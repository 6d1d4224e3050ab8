"""The whole controller: from a TaskQueue to its queue, workers, replicas and status, with and without faults."""

import asyncio

import pytest

from taskqueue_operator.resource.names import Key
from tests.unit.workers.pod_statuses import UNSCHEDULABLE

from .control_harness import ControlHarness
from .fake_broker import AUTHENTICATION_FAILED, DATA, UNREACHABLE, FakeEndpoint
from .fake_cluster import API_UNREACHABLE, KEY, SECRET, taskqueue

pytestmark = pytest.mark.looptime


async def test_a_taskqueue_gets_its_topology_its_workers_and_its_status(harness: ControlHarness) -> None:
    await harness.apply()
    assert set(harness.broker.queues) == {"thumbnails", "thumbnails.dlq"}
    assert harness.replicas() == 0
    assert harness.cluster.condition("Ready")["status"] == "True"
    assert harness.cluster.status()["queue"] == "thumbnails"


async def test_taskqueues_that_are_created_while_the_operator_starts_do_not_end_it(harness: ControlHarness) -> None:
    for number in range(100):
        harness.cluster.put(taskqueue(Key(KEY.namespace, f"jobs-{number}")))
        await asyncio.sleep(0)
    await harness.settle(10)
    assert {"jobs-0", "jobs-99"} <= set(harness.broker.queues)


@pytest.mark.slow
async def test_replicas_follow_the_backlog_up_and_down(harness: ControlHarness) -> None:
    await harness.apply()
    harness.broker.depths["thumbnails"] = (100, 0)
    await harness.settle(1)
    assert harness.replicas() == 5
    harness.start_workers()
    harness.broker.depths["thumbnails"] = (0, 0)
    await harness.settle(50)
    assert harness.replicas() == 5
    await harness.settle(100)
    assert harness.replicas() == 0
    assert harness.cluster.written("replicas") == [5, 1, 0], "the last worker is removed on separate evidence"


async def test_a_pause_takes_effect_while_the_broker_is_unreachable_if_no_worker_runs(harness: ControlHarness) -> None:
    await harness.apply()
    harness.broker.depths["thumbnails"] = (100, 0)
    await harness.settle(20)
    harness.cluster.run_pods(KEY, status=UNSCHEDULABLE)
    harness.broker.fault = UNREACHABLE
    await harness.settle(20)
    await harness.apply(scaling={"maxReplicas": 20, "mode": "Paused", "pausedReplicas": 0})
    await harness.settle(10)
    assert harness.replicas() == 0


async def test_a_pause_takes_effect_after_a_restart_without_the_secret(harness: ControlHarness) -> None:
    await harness.apply()
    harness.broker.depths["thumbnails"] = (100, 0)
    await harness.settle(20)
    harness.cluster.run_pods(KEY, status=UNSCHEDULABLE)
    del harness.cluster.secrets[SECRET]
    await harness.restart()
    await harness.settle(20)
    assert harness.replicas() == 5
    await harness.apply(scaling={"maxReplicas": 20, "mode": "Paused", "pausedReplicas": 1})
    await harness.settle(20)
    assert harness.replicas() == 1


@pytest.mark.slow
async def test_a_rotated_password_is_read_at_once_when_the_former_password_is_refused(harness: ControlHarness) -> None:
    await harness.apply()
    harness.cluster.secrets[SECRET] = {"uri": b"amqp://user:new@broker/"}
    harness.broker.fault = AUTHENTICATION_FAILED
    await harness.settle(3)
    assert FakeEndpoint(b"amqp://user:new@broker/") in harness.brokers.brokers
    await harness.settle(3)
    assert harness.broker.closed
    assert harness.cluster.condition("Ready")["status"] == "True"


@pytest.mark.slow
async def test_a_rotated_password_is_read_within_a_minute_without_a_fault(harness: ControlHarness) -> None:
    await harness.apply()
    harness.cluster.secrets[SECRET] = {"uri": b"amqp://user:new@broker/"}
    await harness.settle(61)
    assert FakeEndpoint(b"amqp://user:new@broker/") in harness.brokers.brokers
    assert len(harness.cluster.written("deployment")) == 1


async def test_a_missing_secret_is_reported_with_the_way_out_and_read_once_it_exists(harness: ControlHarness) -> None:
    harness.cluster.secrets.clear()
    await harness.apply()
    assert harness.cluster.condition("BrokerReachable")["message"] == (
        "Secret media/rabbitmq not found. TaskQueues read Secrets of their own namespace. Create: kubectl -n media "
        "create secret generic rabbitmq --from-literal=uri=amqp://USER:PASS@HOST/"
    )
    harness.cluster.secrets[SECRET] = DATA
    await harness.settle(31)
    assert harness.cluster.condition("Ready")["status"] == "True"


@pytest.mark.slow
async def test_failing_taskqueues_do_not_slow_other_taskqueues(harness: ControlHarness) -> None:
    for n in range(20):
        harness.cluster.put(taskqueue(Key("media", f"poison-{n}"), broker={"secretRef": {"name": "missing"}}))
    await harness.settle(300)
    reads = len(harness.cluster.secret_reads)
    assert reads < 20 * 40
    harness.cluster.put(taskqueue())
    await harness.settle(1)
    assert harness.cluster.condition("Ready")["status"] == "True"


async def test_an_invalid_spec_is_reported_and_reconciled_when_it_changes(harness: ControlHarness) -> None:
    await harness.apply(worker={"image": ""})
    assert harness.cluster.condition("Stalled")["reason"] == "InvalidSpec"
    assert harness.cluster.condition("Ready")["message"].startswith("spec.worker.image: ")
    await harness.apply()
    assert harness.cluster.condition("Ready")["status"] == "True"
    assert harness.cluster.condition("Stalled") == {}


@pytest.mark.slow
async def test_the_resync_compensates_for_lost_events(harness: ControlHarness) -> None:
    await harness.apply()
    harness.cluster.silent = True
    harness.cluster.put(taskqueue(Key("media", "unseen")))
    harness.cluster.delete(KEY)
    harness.cluster.remove("deployments", KEY)
    harness.cluster.silent = False
    await harness.settle(610)
    assert "unseen" in harness.broker.topology_.queues
    assert KEY not in harness.controller.cache.taskqueues
    assert KEY not in harness.controller.states


async def test_nothing_is_stored_of_a_deleted_taskqueue(harness: ControlHarness) -> None:
    await harness.apply()
    harness.cluster.delete(KEY)
    await harness.settle(10)
    assert harness.controller.states == {}
    assert harness.controller.observers.running() == []
    assert harness.controller.credentials._known == {}
    assert harness.broker.closed


async def test_a_late_answer_does_not_restore_a_deleted_taskqueue(harness: ControlHarness) -> None:
    await harness.apply()
    stale = harness.cluster.taskqueues[KEY]
    harness.cluster.delete(KEY)
    harness.controller.cache.update_taskqueue(stale)
    assert KEY not in harness.controller.cache.taskqueues


async def test_a_new_taskqueue_of_a_former_name_starts_without_old_state(harness: ControlHarness) -> None:
    await harness.apply()
    harness.cluster.delete(KEY)
    harness.cluster.remove("deployments", KEY)
    await harness.apply()
    assert harness.cluster.condition("Ready")["status"] == "True"
    assert len(harness.cluster.written("deployment")) == 2


async def test_the_controller_recovers_from_an_unavailable_api_server(harness: ControlHarness) -> None:
    await harness.settle(1)
    harness.cluster.fault = API_UNREACHABLE
    await harness.apply()
    await harness.settle(60)
    harness.cluster.fault = None
    await harness.settle(40)
    assert harness.cluster.condition("Ready")["status"] == "True"


async def test_a_first_status_without_readiness_posts_no_event(
    harness: ControlHarness, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another client writes first, so the finalizer is refused: there is a status, but no readiness yet."""
    await harness.settle(1)
    body = harness.cluster.put(taskqueue(deletionPolicy="Delete"))
    harness.cluster.silent = True
    harness.cluster.put({**body, "metadata": {**body["metadata"], "labels": {"touched": "yes"}}})
    harness.cluster.silent = False
    await harness.settle(0.1)
    first = harness.cluster.written("status")[0]
    assert [condition["type"] for condition in first["conditions"]] == ["Reconciling"]
    assert "Traceback" not in capsys.readouterr().out


@pytest.mark.slow
async def test_events_are_posted_on_transitions_only(harness: ControlHarness) -> None:
    await harness.apply()
    await harness.settle(60)
    harness.broker.fault = UNREACHABLE
    await harness.settle(300)
    harness.broker.fault = None
    await harness.settle(300)
    reasons = [reason for reason, _ in harness.cluster.events]
    assert reasons[1:] == ["BrokerUnreachable", *reasons[2:]]
    assert len(reasons) == 3


async def test_stages_run_in_order_and_a_fault_stops_dependent_stages(harness: ControlHarness) -> None:
    harness.broker.fault = UNREACHABLE
    await harness.apply()
    assert harness.cluster.deployments == {}
    statuses = {type_: harness.cluster.condition(type_).get("status") for type_ in ("BrokerReachable", "TopologyReady")}
    assert statuses == {"BrokerReachable": "False", "TopologyReady": "Unknown"}
    harness.broker.fault = None
    await harness.settle(31)
    assert harness.cluster.condition("Ready")["status"] == "True"


@pytest.mark.slow
async def test_an_internal_error_is_reported(harness: ControlHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(_: object) -> dict[str, object]:
        raise KeyError("spec")

    monkeypatch.setattr(harness.cluster, "apply_deployment", fail)
    await harness.apply()
    assert harness.cluster.condition("Ready")["reason"] == "InternalError"


@pytest.mark.slow
async def test_a_demand_around_the_maximum_does_not_write_at_every_reading(harness: ControlHarness) -> None:
    await harness.apply(scaling={"maxReplicas": 2, "readyPerReplica": 10})
    harness.broker.depths["thumbnails"] = (20, 0)
    await harness.settle(40)
    harness.cluster.writes.clear()
    for ready in range(60):
        harness.broker.depths["thumbnails"] = (20 + 10 * (ready % 2), 0)
        await harness.settle(1)
    assert len(harness.cluster.written("status")) <= 3


async def test_a_queue_of_a_former_name_is_not_read(harness: ControlHarness) -> None:
    await harness.apply(queue={"name": "first"})
    await harness.apply(queue={"name": "second"})
    harness.broker.probes.clear()
    await harness.settle(5)
    assert {name for _, names in harness.broker.probes for name in names} == {"second"}


async def test_a_taskqueue_that_was_created_anew_before_a_status_write_is_reconciled_as_a_new_one(
    harness: ControlHarness,
) -> None:
    await harness.apply()
    former = harness.controller.states[KEY]
    harness.cluster.silent = True
    del harness.cluster.taskqueues[KEY]
    harness.cluster.put(taskqueue(worker={"image": "acme/app:2"}))
    harness.broker.depths["thumbnails"] = (100, 0)
    await harness.settle(20)
    harness.cluster.silent = False
    harness.cluster.show_all()
    assert harness.controller.states[KEY] is not former
    await harness.settle(10)
    assert "still being deleted" in harness.cluster.condition("WorkersAvailable")["message"]
    harness.cluster.remove("deployments", KEY)  # with its owner
    await harness.settle()
    (container,) = harness.cluster.deployments[KEY]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "acme/app:2"


async def test_a_new_spec_that_the_answer_to_a_status_write_shows_before_its_event_is_reconciled(
    harness: ControlHarness,
) -> None:
    await harness.apply()
    harness.cluster.silent = True
    harness.cluster.put(taskqueue(worker={"image": "acme/app:2"}))
    statuses = len(harness.cluster.written("status"))
    harness.broker.depths["thumbnails"] = (100, 0)
    await harness.settle(20)
    assert len(harness.cluster.written("status")) > statuses
    harness.cluster.silent = False
    harness.cluster.show_all()
    await harness.settle()
    (container,) = harness.cluster.deployments[KEY]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "acme/app:2"
