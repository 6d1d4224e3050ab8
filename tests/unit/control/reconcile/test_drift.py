"""What another client changes on the broker is repaired within 10 s, with an Event that names it."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from taskqueue_operator.control.reconcile import topology
from taskqueue_operator.topology.diff import Declare, Remove, Step
from taskqueue_operator.topology.diff import diff as real_diff
from taskqueue_operator.topology.objects import Binding, Exchange, Policy, Queue, Topology
from tests.approved import assert_approved
from tests.unit.control.control_harness import ControlHarness
from tests.unit.control.fake_broker import DATA, FakeBroker
from tests.unit.control.fake_cluster import KEY, taskqueue
from tests.unit.topology.in_memory_vhost import apply_steps

pytestmark = pytest.mark.looptime

PERIOD_SECONDS = 10.0
QUEUE, DEAD_LETTERS = Queue("thumbnails"), Queue("thumbnails.dlq")
BINDING = Binding("thumbnails", "thumbnails.in", to_queue=False, routing_key="thumbnails")
PLAIN_FOR_HOURS = {"image": "acme/celery:1", "protocol": "Plain", "taskTimeoutSeconds": 7260}


def change(broker: FakeBroker, *steps: Step) -> None:
    """Another client changes the vhost."""
    broker.topology_ = apply_steps(steps, broker.topology_)


def repairs(harness: ControlHarness) -> list[str]:
    return [message for reason, message in harness.cluster.events if reason == "TopologyRepaired"]


@pytest.mark.parametrize(
    ("step", "named"),
    [
        (Remove(QUEUE), 'queue "thumbnails" was missing'),
        (Remove(DEAD_LETTERS), 'queue "thumbnails.dlq" was missing'),
        (Remove(Exchange("thumbnails", "direct")), 'exchange "thumbnails" was missing'),
        (Remove(Exchange("thumbnails.in", "fanout")), 'exchange "thumbnails.in" was missing'),
        (Remove(BINDING), 'binding from exchange "thumbnails" to exchange "thumbnails.in"'),
        (Declare(replace(BINDING, routing_key="theirs")), 'with routing key "theirs" was not declared'),
        (Remove(Policy("thumbnails.timeout", "", "")), 'policy "thumbnails.timeout" was missing'),
        (Declare(Policy("thumbnails.timeout", "^thumbnails$", "queues", {"consumer-timeout": 1})), "was changed"),
        (Declare(Policy("thumbnails.timeout", "^thumbnails$", "queues", {"max-length": 1})), "was changed"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
async def test_each_kind_of_drift_is_repaired_with_an_event(harness: ControlHarness, step: Step, named: str) -> None:
    await harness.apply(worker=PLAIN_FOR_HOURS)
    whole = harness.broker.topology_
    change(harness.broker, step)
    await harness.settle(PERIOD_SECONDS)
    assert apply_steps([], harness.broker.topology_) == apply_steps([], whole)
    (message,) = repairs(harness)
    assert named in message
    assert harness.cluster.condition("Ready")["status"] == "True"


async def test_a_repair_begins_with_the_read_that_showed_the_drift(
    harness: ControlHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await harness.apply()
    await harness.settle(10)
    change(harness.broker, Remove(BINDING))
    reads, reads_before_repair = harness.broker.reads, []
    apply = harness.broker.apply

    async def counted(steps: Sequence[Step]) -> None:
        reads_before_repair.append(harness.broker.reads - reads)
        await apply(steps)

    monkeypatch.setattr(harness.broker, "apply", counted)
    await harness.settle(2 * PERIOD_SECONDS)
    assert reads_before_repair == [1]


async def test_the_event_says_how_many_messages_a_deleted_queue_had(harness: ControlHarness) -> None:
    harness.broker.depths |= {"thumbnails": (12, 5), "thumbnails.dlq": (3, 0)}
    await harness.apply()
    await harness.settle(10)
    change(harness.broker, Remove(QUEUE), Remove(DEAD_LETTERS))
    await harness.settle(PERIOD_SECONDS)
    (message,) = repairs(harness)
    assert_approved("topology.drift_with_messages", message)


async def test_nothing_is_written_when_nothing_has_drifted(harness: ControlHarness) -> None:
    await harness.apply()
    await harness.settle(60)
    harness.broker.applied.clear()
    harness.cluster.writes.clear()
    reads = harness.broker.reads
    await harness.settle(100)
    assert harness.broker.reads - reads > 100 / PERIOD_SECONDS
    assert (harness.broker.applied, harness.cluster.writes, repairs(harness)) == ([], [], [])


async def test_what_the_spec_or_another_broker_makes_missing_has_not_drifted(harness: ControlHarness) -> None:
    await harness.apply()
    await harness.apply(bindings=[{"routingKey": "another"}])
    harness.cluster.secrets[KEY._replace(name="rabbitmq")] = {"uri": DATA["uri"] + b"another"}
    await harness.settle(120)
    assert {queue for broker in harness.brokers.brokers.values() for queue in broker.queues} == {
        "thumbnails",
        "thumbnails.dlq",
    }
    assert repairs(harness) == []


async def test_a_vhost_that_has_not_changed_is_not_compared_again(
    harness: ControlHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[Topology] = []

    def counted(desired: Topology, actual: Topology, *, owner: str) -> Sequence[Step]:
        compared.append(actual)
        return real_diff(desired, actual, owner=owner)

    await harness.apply()
    await harness.settle(30)
    monkeypatch.setattr(topology, "diff", counted)
    await harness.settle(100)
    assert compared == []
    change(harness.broker, Declare(Queue("of another client")))
    await harness.settle(100)
    assert len(compared) == 1


async def test_drift_during_a_downtime_is_named_although_its_messages_are_unknown(harness: ControlHarness) -> None:
    await harness.apply()
    await harness.settle(30)
    await harness.stop_controller()
    change(harness.broker, Remove(QUEUE))
    harness.start_controller()
    await harness.settle(10)
    (message,) = repairs(harness)
    assert "how many messages it had is unknown" in message


async def test_a_timeout_policy_goes_without_an_event_when_no_worker_needs_it(harness: ControlHarness) -> None:
    harness.start_workers()
    await harness.apply(worker=PLAIN_FOR_HOURS, scaling={"maxReplicas": 1, "minReplicas": 1})
    await harness.settle(20)
    assert "thumbnails.timeout" in harness.broker.topology_.policies
    harness.cluster.put(taskqueue(KEY, worker={"image": "acme/celery:1", "protocol": "Plain"}))
    await until(lambda: not harness.broker.topology_.policies, harness)
    assert repairs(harness) == []


async def until(condition: Callable[[], bool], harness: ControlHarness) -> None:
    for _ in range(60):
        if condition():
            return
        await harness.settle(5)
    raise AssertionError
