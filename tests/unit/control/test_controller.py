"""The whole loop: from a TaskQueue to queue, workers, numbers and status, and what faults do to it."""

import pytest

from taskqueue_operator.resource.names import Key
from tests.unit.workers.pod_statuses import UNSCHEDULABLE

from .conftest import World
from .fake_broker import DATA, GONE_AWAY, REFUSED, FakeEndpoint
from .fake_cluster import API_AWAY, KEY, SECRET, taskqueue

pytestmark = pytest.mark.looptime


async def test_a_taskqueue_gets_its_topology_its_workers_and_a_status(world: World) -> None:
    await world.has()
    assert set(world.broker.topology_.queues) == {"thumbnails", "thumbnails.dlq"}
    assert world.replicas() == 0
    assert world.cluster.condition("Ready")["status"] == "True"
    assert world.cluster.status()["queue"] == "thumbnails"


async def test_workers_come_with_the_backlog_and_go_with_it(world: World) -> None:
    await world.has()
    world.broker.depths["thumbnails"] = (100, 0)
    await world.settle(1)
    assert world.replicas() == 5
    world.staff()
    world.broker.depths["thumbnails"] = (0, 0)
    await world.settle(50)
    assert world.replicas() == 5
    await world.settle(100)
    assert world.replicas() == 0
    assert world.cluster.written("replicas") == [5, 1, 0], "the last one goes on evidence of its own"


async def test_a_pause_takes_effect_while_the_broker_is_away_if_no_worker_runs(world: World) -> None:
    await world.has()
    world.broker.depths["thumbnails"] = (100, 0)
    await world.settle(20)
    world.cluster.run_pods(KEY, status=UNSCHEDULABLE)
    world.broker.fault = GONE_AWAY
    await world.settle(20)
    await world.has(scaling={"maxReplicas": 20, "mode": "Paused", "pausedReplicas": 0})
    await world.settle(10)
    assert world.replicas() == 0


async def test_a_pause_takes_effect_after_a_restart_without_the_secret(world: World) -> None:
    await world.has()
    world.broker.depths["thumbnails"] = (100, 0)
    await world.settle(20)
    world.cluster.run_pods(KEY, status=UNSCHEDULABLE)
    del world.cluster.secrets[SECRET]
    await world.restart()
    await world.settle(20)
    assert world.replicas() == 5
    await world.has(scaling={"maxReplicas": 20, "mode": "Paused", "pausedReplicas": 1})
    await world.settle(20)
    assert world.replicas() == 1


async def test_a_rotated_password_is_found_at_once_when_the_old_one_is_refused(world: World) -> None:
    await world.has()
    world.cluster.secrets[SECRET] = {"uri": b"amqp://user:new@broker/"}
    world.broker.fault = REFUSED
    await world.settle(3)
    assert FakeEndpoint(b"amqp://user:new@broker/") in world.brokers.brokers
    await world.settle(3)
    assert world.broker.closed
    assert world.cluster.condition("Ready")["status"] == "True"


async def test_a_rotated_password_is_found_within_a_minute_without_a_fault(world: World) -> None:
    await world.has()
    world.cluster.secrets[SECRET] = {"uri": b"amqp://user:new@broker/"}
    await world.settle(61)
    assert FakeEndpoint(b"amqp://user:new@broker/") in world.brokers.brokers
    assert len(world.cluster.written("deployment")) == 1


async def test_a_missing_secret_is_told_with_the_way_out_and_found_when_it_comes(world: World) -> None:
    world.cluster.secrets.clear()
    await world.has()
    assert world.cluster.condition("BrokerReachable")["message"] == (
        "Secret media/rabbitmq not found. TaskQueues read Secrets of their own namespace. Create: kubectl -n media "
        "create secret generic rabbitmq --from-literal=uri=amqp://USER:PASS@HOST/"
    )
    world.cluster.secrets[SECRET] = DATA
    await world.settle(31)
    assert world.cluster.condition("Ready")["status"] == "True"


async def test_one_poisoned_taskqueue_does_not_slow_the_others(world: World) -> None:
    for n in range(20):
        world.cluster.put(taskqueue(Key("media", f"poison-{n}"), broker={"secretRef": {"name": "missing"}}))
    await world.settle(300)
    reads = len(world.cluster.secret_reads)
    assert reads < 20 * 40
    world.cluster.put(taskqueue())
    await world.settle(1)
    assert world.cluster.condition("Ready")["status"] == "True"


async def test_a_spec_that_does_not_fit_is_told_and_tried_again_when_it_changes(world: World) -> None:
    await world.has(worker={"image": ""})
    assert world.cluster.condition("Stalled")["reason"] == "InvalidSpec"
    assert world.cluster.condition("Ready")["message"].startswith("spec.worker.image: ")
    await world.has()
    assert world.cluster.condition("Ready")["status"] == "True"
    assert world.cluster.condition("Stalled") == {}


async def test_lost_events_are_made_up_for_by_the_resync(world: World) -> None:
    await world.has()
    world.cluster.silent = True
    world.cluster.put(taskqueue(Key("media", "unseen")))
    world.cluster.delete(KEY)
    world.cluster.remove("deployments", KEY)
    world.cluster.silent = False
    await world.settle(610)
    assert "unseen" in world.broker.topology_.queues
    assert KEY not in world.control.cache.taskqueues
    assert KEY not in world.control.states


async def test_a_taskqueue_that_is_gone_leaves_nothing_behind(world: World) -> None:
    await world.has()
    world.cluster.delete(KEY)
    await world.settle(10)
    assert world.control.states == {}
    assert world.control.observers.running() == []
    assert world.control.credentials._known == {}
    assert world.broker.closed


async def test_an_answer_that_comes_after_the_end_brings_nothing_back(world: World) -> None:
    await world.has()
    late = world.cluster.taskqueues[KEY]
    world.cluster.delete(KEY)
    world.control.cache.update_taskqueue(late)
    assert KEY not in world.control.cache.taskqueues


async def test_a_new_taskqueue_of_an_old_name_begins_anew(world: World) -> None:
    await world.has()
    world.cluster.delete(KEY)
    world.cluster.remove("deployments", KEY)
    await world.has()
    assert world.cluster.condition("Ready")["status"] == "True"
    assert len(world.cluster.written("deployment")) == 2


async def test_the_api_server_may_be_away_for_a_while(world: World) -> None:
    await world.settle(1)
    world.cluster.fault = API_AWAY
    await world.has()
    await world.settle(60)
    world.cluster.fault = None
    await world.settle(40)
    assert world.cluster.condition("Ready")["status"] == "True"


async def test_a_first_report_without_a_verdict_is_no_event(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Somebody else writes first, and the finalizer is refused: there is a status, but no readiness yet."""
    await world.settle(1)
    body = world.cluster.put(taskqueue(deletionPolicy="Delete"))
    world.cluster.silent = True
    world.cluster.put({**body, "metadata": {**body["metadata"], "labels": {"touched": "yes"}}})
    world.cluster.silent = False
    await world.settle(0.1)
    first = world.cluster.written("status")[0]
    assert [each["type"] for each in first["conditions"]] == ["Reconciling"]
    assert "Traceback" not in capsys.readouterr().out


@pytest.mark.slow
async def test_events_are_posted_on_transitions_only(world: World) -> None:
    await world.has()
    await world.settle(60)
    world.broker.fault = GONE_AWAY
    await world.settle(300)
    world.broker.fault = None
    await world.settle(300)
    reasons = [reason for reason, _ in world.cluster.events]
    assert reasons[1:] == ["BrokerUnreachable", *reasons[2:]]
    assert len(reasons) == 3


async def test_stages_run_in_order_and_a_fault_stops_those_that_rest_on_it(world: World) -> None:
    world.broker.fault = GONE_AWAY
    await world.has()
    assert world.cluster.deployments == {}
    said = {type_: world.cluster.condition(type_).get("status") for type_ in ("BrokerReachable", "TopologyReady")}
    assert said == {"BrokerReachable": "False", "TopologyReady": "Unknown"}
    world.broker.fault = None
    await world.settle(31)
    assert world.cluster.condition("Ready")["status"] == "True"


async def test_drift_is_repaired(world: World) -> None:
    await world.has()
    whole = world.broker.topology_
    world.broker.topology_ = type(whole)(whole.exchanges, whole.queues, frozenset(), whole.policies)
    await world.settle(35)
    assert world.broker.topology_ == whole


async def test_a_failure_of_the_operator_itself_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(_: object) -> dict[str, object]:
        raise KeyError("spec")

    monkeypatch.setattr(world.cluster, "apply_deployment", fail)
    await world.has()
    assert world.cluster.condition("Ready")["reason"] == "InternalError"


async def test_a_demand_around_the_maximum_does_not_write_with_every_reading(world: World) -> None:
    await world.has(scaling={"maxReplicas": 2, "readyPerReplica": 10})
    world.broker.depths["thumbnails"] = (20, 0)
    await world.settle(40)
    world.cluster.writes.clear()
    for ready in range(60):
        world.broker.depths["thumbnails"] = (20 + 10 * (ready % 2), 0)
        await world.settle(1)
    assert len(world.cluster.written("status")) <= 3


async def test_a_former_name_is_read_no_more(world: World) -> None:
    await world.has(queue={"name": "first"})
    await world.has(queue={"name": "second"})
    world.broker.probes.clear()
    await world.settle(5)
    assert {name for _, names in world.broker.probes for name in names} == {"second"}
