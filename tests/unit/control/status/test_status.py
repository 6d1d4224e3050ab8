"""Content and time of status writes."""

import copy

import pytest
import structlog.testing

from taskqueue_operator.control.ports import Body
from taskqueue_operator.resource.bounds import FAULT_CHARACTERS
from taskqueue_operator.resource.faults import BrokerFault, Reason
from taskqueue_operator.resource.names import Key
from taskqueue_operator.topology.objects import Queue, Topology
from taskqueue_operator.workers.not_consuming import CONSUMING_WITHIN
from tests.approved import assert_approved
from tests.unit.control.control_harness import ControlHarness
from tests.unit.control.fake_broker import DATA, FORBIDDEN, UNREACHABLE
from tests.unit.control.fake_cluster import KEY, taskqueue
from tests.unit.workers.pod_statuses import READY, container, waiting

pytestmark = pytest.mark.looptime


@pytest.mark.slow
async def test_a_queue_without_read_permission_affects_only_its_own_taskqueue(harness: ControlHarness) -> None:
    await harness.apply()
    other = Key("media", "more")
    harness.cluster.put(taskqueue(other))
    await harness.settle(60)
    harness.broker.refused["more"] = FORBIDDEN
    await harness.settle(60)
    for condition in ("BrokerReachable", "Ready", "Stalled"):
        observed = harness.cluster.condition(condition, other)
        assert (observed["reason"], observed["message"]) == (FORBIDDEN.reason, FORBIDDEN.message)
    assert harness.cluster.condition("ScalingActive", other)["status"] == "False"
    for condition in ("BrokerReachable", "Ready", "ScalingActive"):
        assert harness.cluster.condition(condition)["status"] == "True"
    harness.broker.refused.clear()
    await harness.settle(60)
    for condition in ("BrokerReachable", "Ready", "ScalingActive"):
        assert harness.cluster.condition(condition, other)["status"] == "True"


async def test_replicas_are_written_at_once(harness: ControlHarness) -> None:
    await harness.apply()
    await harness.settle(60)
    harness.broker.depths["thumbnails"] = (100, 0)
    await harness.settle(1.5)
    assert harness.cluster.status()["desiredReplicas"] == 5
    assert harness.cluster.status()["decision"] == "ready 100 / 20 per replica = 5"
    assert harness.cluster.status()["lastScaleTime"]
    assert ("Scaled", "From 0 to 5 workers: ready 100 / 20 per replica = 5") in harness.cluster.events


async def test_limits_are_a_condition(harness: ControlHarness) -> None:
    await harness.apply(scaling={"maxReplicas": 3})
    await harness.settle(30)
    harness.broker.depths["thumbnails"] = (100, 0)
    await harness.settle(5)
    limited = harness.cluster.condition("ScalingLimited")
    assert (limited["status"], limited["reason"]) == ("True", "TooManyReplicas")
    assert limited["message"] == "limited to 3 by maxReplicas"


async def test_a_pause_is_a_condition(harness: ControlHarness) -> None:
    await harness.apply(scaling={"maxReplicas": 3, "mode": "Paused"})
    await harness.settle(30)
    assert harness.cluster.condition("ScalingActive")["reason"] == "Paused"


async def test_readiness_contains_its_observed_generation(harness: ControlHarness) -> None:
    await harness.apply()
    await harness.apply(worker={"image": "acme/app:2"})
    assert harness.cluster.status()["observedGeneration"] == 2
    assert harness.cluster.condition("Ready")["observedGeneration"] == 2  # type: ignore[comparison-overlap]  # an int


async def test_each_change_of_a_condition_is_one_log_line(harness: ControlHarness) -> None:
    with structlog.testing.capture_logs() as lines:
        await harness.apply(worker={"image": "acme/app:1", "env": [{"name": "TASKQUEUE_NAME", "value": "x"}]})
        await harness.settle(120)
    (line,) = [line for line in lines if line.get("condition") == "Ready"]
    assert (line["event"], line["log_level"], line["status"]) == ("condition changed", "warning", "False")
    assert line["detail"] == harness.cluster.condition("Ready")["message"]
    with structlog.testing.capture_logs() as lines:
        await harness.restart()
        await harness.settle(60)
    assert [line for line in lines if line["event"].startswith("condition")] == [], "a restart changes no condition"
    with structlog.testing.capture_logs() as lines:
        await harness.apply()
    events = {line["condition"]: line["event"] for line in lines if line["event"].startswith("condition")}
    assert events.pop("Stalled") == "condition removed"
    assert set(events.values()) == {"condition changed"}


@pytest.mark.slow
async def test_conditions_come_before_events_and_figures(harness: ControlHarness) -> None:
    keys = [Key("media", f"q-{n}") for n in range(60)]
    for key in keys:
        harness.cluster.put(taskqueue(key))
    await harness.settle(60)
    harness.controller._status_writer._budget._interval = 0.5
    for n in range(60):  # figures alone take the whole budget
        for key in keys:
            harness.broker.depths[key.name] = (0, n)
        await harness.settle(1)
    harness.broker.fault = UNREACHABLE
    await harness.settle(len(keys) / 2 + 5)
    assert {harness.cluster.condition("BrokerReachable", key)["status"] for key in keys} == {"False"}
    assert len(harness.cluster.events) < len(keys) + 15, "Events come after the conditions of all"
    await harness.settle(len(keys) / 2)
    assert [reason for reason, _ in harness.cluster.events].count("BrokerUnreachable") == len(keys)


@pytest.mark.slow
async def test_many_taskqueues_of_one_namespace_delay_no_status_of_another_one(harness: ControlHarness) -> None:
    many = [Key("many", f"q-{n}") for n in range(60)]
    harness.cluster.secrets[Key("many", "rabbitmq")] = DATA
    for key in many:
        harness.cluster.put(taskqueue(key))
    await harness.apply()
    await harness.settle(60)
    harness.controller._status_writer._budget._interval = 0.5
    harness.broker.fault = UNREACHABLE
    await harness.settle(8)
    assert harness.cluster.condition("BrokerReachable")["status"] == "False"
    told = [key for key in many if harness.cluster.condition("BrokerReachable", key)["status"] == "False"]
    assert 1 <= len(told) < 20


async def test_a_taskqueue_whose_readiness_flaps_posts_few_events(harness: ControlHarness) -> None:
    await harness.apply()
    for flap in range(80):
        harness.broker.fault = None if flap % 2 else UNREACHABLE
        await harness.settle(15)
    reasons = [reason for reason, _ in harness.cluster.events]
    assert 40 <= len(reasons) <= 25 + 80 * 15 / 60 + 1
    assert harness.cluster.condition("BrokerReachable")["status"] == "True"


async def test_a_message_of_any_length_and_content_is_written(harness: ControlHarness) -> None:
    harness.broker.fault = BrokerFault(Reason.TOPOLOGY_REFUSED, "x\ud800" * 40_000)
    await harness.apply()
    message = harness.cluster.condition("Ready")["message"]
    assert len(message) == FAULT_CHARACTERS
    assert message.encode()


NOT_READY = container({"running": {}}, ready=False)
ONE = {"minReplicas": 1, "maxReplicas": 3}


async def test_a_generation_is_ready_once_its_own_workers_have_replaced_the_former_ones(
    harness: ControlHarness,
) -> None:
    await harness.apply(scaling=ONE)
    assert ready(harness) == ("False", "WorkersStarting")
    harness.cluster.run_pods(KEY)
    await harness.settle()
    assert ready(harness) == ("True", "Ready")
    await harness.apply(scaling=ONE, worker={"image": "acme/app:2"})
    former = copy.deepcopy(list(harness.cluster.pods.values()))
    assert ready(harness) != ("True", "Ready"), "the former worker is ready, and the new one is not"
    harness.cluster.run_pods(KEY, status=waiting("ImagePullBackOff"))
    for pod in former:  # it goes on
        pod["metadata"] |= {"name": "former", "uid": "former"}
        harness.cluster._store("pods", pod)
    await harness.settle()
    assert ready(harness) == ("False", "WorkersFailing")
    assert harness.cluster.condition("WorkersAvailable")["message"].startswith(
        "No worker of this version is ready; workers of the former version go on: "
    )
    harness.cluster.run_pods(KEY)
    await harness.settle()
    assert ready(harness) == ("True", "Ready")
    harness.cluster.run_pods(KEY, status=NOT_READY)
    await harness.settle()
    assert ready(harness) == ("True", "Ready"), "what has been ready stays so while workers start or drain"


async def test_an_idle_queue_at_zero_is_ready_and_so_is_another_image_there(harness: ControlHarness) -> None:
    await harness.apply()
    await harness.apply(worker={"image": "acme/app:2"})
    assert ready(harness) == ("True", "Ready")
    assert harness.cluster.condition("WorkersAvailable")["message"] == "No workers are needed."
    assert [reason for reason, _ in harness.cluster.events] == ["Ready"]


@pytest.mark.slow
@pytest.mark.parametrize(("status", "consumers"), [(NOT_READY, None), (waiting("ContainerCreating"), None), (READY, 0)])
async def test_workers_that_never_consume_while_messages_wait_are_told_of_in_minutes(
    harness: ControlHarness, status: Body, consumers: int | None
) -> None:
    await harness.apply()
    if consumers is not None:
        harness.broker.consumer_counts[KEY.name] = consumers
    harness.broker.depths[KEY.name] = (7, 0)
    await harness.settle(5)
    harness.cluster.run_pods(KEY, status=status)
    await harness.settle(CONSUMING_WITHIN.total_seconds() - 10)
    assert ready(harness) == ("True", "Ready")
    await harness.settle(20)
    assert ready(harness) == ("False", "WorkersNotConsuming")
    assert harness.cluster.condition("WorkersAvailable")["status"] == "False"
    assert "WorkersNotConsuming" in dict(harness.cluster.events)
    harness.cluster.run_pods(KEY)
    harness.broker.consumer_counts[KEY.name] = 1
    await harness.settle(40)
    assert ready(harness) == ("True", "Ready")


@pytest.mark.slow
@pytest.mark.parametrize(("protocol", "reason"), [("Plain", "WorkersNotConsuming"), ("TaskQueue", "Ready")])
async def test_one_of_several_queues_without_a_consumer_is_named_unless_its_workers_wait_for_a_slot(
    harness: ControlHarness, protocol: str, reason: str
) -> None:
    names = ("celery", "celery.dlq", "mails", "mails.dlq")
    harness.broker.topology_ = Topology(queues={name: Queue(name) for name in names})
    await harness.apply(externalQueues=["celery", "mails"], worker={"image": "acme/app:1", "protocol": protocol})
    harness.broker.consumer_counts |= {"celery": 1, "mails": 0}
    harness.broker.depths |= {"celery": (7, 1), "mails": (7, 0)}
    await harness.settle(5)
    harness.cluster.run_pods(KEY)
    await harness.settle(CONSUMING_WITHIN.total_seconds() + 10)
    assert ready(harness)[1] == reason
    assert ('no consumer of queue "mails"' in harness.cluster.condition("Ready")["message"]) is (protocol == "Plain")


@pytest.mark.slow
async def test_workers_without_work_may_be_unready_for_ever(harness: ControlHarness) -> None:
    await harness.apply(scaling=ONE)
    harness.cluster.run_pods(KEY)
    await harness.settle()
    harness.cluster.run_pods(KEY, status=NOT_READY)
    await harness.settle(2 * CONSUMING_WITHIN.total_seconds())
    assert ready(harness) == ("True", "Ready")


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("DryRun", "There are no workers: spec.scaling.mode is DryRun, so decisions are not applied."),
        ("Paused", "There are no workers: spec.scaling.mode is Paused."),
    ],
)
async def test_a_mode_without_workers_is_named_while_messages_wait(
    harness: ControlHarness, mode: str, message: str
) -> None:
    harness.broker.depths[KEY.name] = (7, 0)
    await harness.apply(scaling={"maxReplicas": 3, "mode": mode})
    await harness.settle(10)
    assert harness.cluster.condition("WorkersAvailable")["message"] == message


async def test_an_alarm_of_the_broker_is_named(harness: ControlHarness) -> None:
    await harness.apply()
    harness.broker.alarms_ = frozenset({"memory"})
    await harness.settle(20)
    reachable = harness.cluster.condition("BrokerReachable")
    assert (reachable["status"], reachable["reason"]) == ("True", "BrokerAlarm")
    assert_approved("broker.alarm", reachable["message"])
    harness.broker.alarms_ = frozenset()
    await harness.settle(20)
    assert harness.cluster.condition("BrokerReachable")["reason"] == "Connected"


async def test_retries_of_deleted_queues_are_named_while_there_are_any(harness: ControlHarness) -> None:
    await harness.apply()
    harness.broker.depths["taskqueue.parking"] = (3, 0)
    await harness.settle(20)
    topology = harness.cluster.condition("TopologyReady")
    assert (topology["status"], topology["reason"]) == ("True", "RetriesParked")
    assert_approved("topology.retries_parked", topology["message"])
    harness.broker.depths["taskqueue.parking"] = (0, 0)
    await harness.settle(20)
    assert harness.cluster.condition("TopologyReady")["reason"] == "Reconciled"


def ready(harness: ControlHarness) -> tuple[str, str]:
    condition = harness.cluster.condition("Ready")
    return condition["status"], condition["reason"]
