import pytest

from taskqueue_operator.resource.faults import Reason, TopologyFault
from taskqueue_operator.topology.objects import Binding, Topology
from tests.approved import assert_approved
from tests.unit.topology.builders import OWNER, desired_topology

OWNERSHIP = {"x-taskqueue-owner": OWNER}


def test_the_minimal_taskqueue_declares_two_exchanges_a_queue_and_a_dead_letter_queue() -> None:
    topology = desired_topology()

    assert {name: item.type for name, item in topology.exchanges.items()} == {"jobs": "direct", "jobs.in": "fanout"}
    assert all(item.durable and item.arguments == OWNERSHIP for item in topology.exchanges.values())
    assert topology.queues["jobs"].arguments == OWNERSHIP | {
        "x-queue-type": "quorum",
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": "jobs.dlq",
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
        "x-delivery-limit": 100,
    }
    # Otherwise RabbitMQ 4.0 to 4.2 drops a dead letter that was listed 20 times.
    assert topology.queues["jobs.dlq"].arguments == OWNERSHIP | {
        "x-queue-type": "quorum",
        "x-delivery-limit": 1_000_000,
    }
    assert topology.bindings == {
        Binding("jobs", "jobs.in", to_queue=False, routing_key="jobs"),
        Binding("jobs.in", "jobs", to_queue=True),
    }
    assert topology.policies == {}


@pytest.mark.parametrize(
    ("spec", "keys"),
    [
        ({"exchange": {"type": "Topic"}}, {"#"}),
        ({"exchange": {"type": "Fanout"}}, {""}),
        ({"exchange": {"type": "Topic"}, "bindings": [{"routingKey": "image.*"}, {"routingKey": "#.now"}]},
         {"image.*", "#.now"}),
    ],
)  # fmt: skip
def test_routing_keys_follow_from_bindings_and_exchange_type(spec: dict[str, object], keys: set[str]) -> None:
    topology = desired_topology(**spec)

    assert {binding.routing_key for binding in topology.bindings if binding.source == "jobs"} == keys


def test_bindings_have_arguments_and_those_from_exchanges_of_others_an_owner() -> None:
    """The owner shows later that such a binding is obsolete; RabbitMQ does not compare it with headers."""
    bindings = [
        {"arguments": {"x-match": "any", "pages": 1, "format": "pdf"}},
        {"exchange": "events", "routingKey": "image.*"},
    ]
    topology = desired_topology(exchange={"type": "Headers", "alternateExchange": "unrouted"}, bindings=bindings)

    assert topology.exchanges["jobs"].type == "headers"
    assert topology.exchanges["jobs"].arguments == OWNERSHIP | {"alternate-exchange": "unrouted"}
    assert topology.exchanges.keys() == {"jobs", "jobs.in"}
    assert topology.bindings == {
        Binding("jobs", "jobs.in", to_queue=False, arguments=(("format", "pdf"), ("pages", 1), ("x-match", "any"))),
        Binding("events", "jobs.in", to_queue=False, routing_key="image.*", arguments=tuple(OWNERSHIP.items())),
        Binding("jobs.in", "jobs", to_queue=True),
    }


def test_a_classic_queue_has_the_maximum_priority_and_its_dead_letter_queue_has_none() -> None:
    topology = desired_topology(queue={"name": "mail", "type": "Classic", "maxPriority": 9})

    assert topology.queues["mail"].arguments["x-max-priority"] == 9
    assert topology.queues["mail"].arguments["x-queue-type"] == "classic"
    assert topology.queues["mail.dlq"].arguments == OWNERSHIP | {"x-queue-type": "classic"}


def test_a_single_active_consumer_is_an_argument_of_the_main_queue() -> None:
    topology = desired_topology(queue={"singleActiveConsumer": True})

    assert topology.queues["jobs"].arguments["x-single-active-consumer"] is True
    assert "x-single-active-consumer" not in topology.queues["jobs.dlq"].arguments
    assert desired_topology().queues["jobs"].arguments.keys().isdisjoint({"x-single-active-consumer"})


def test_an_external_queue_declares_nothing() -> None:
    assert desired_topology(queue={"name": "celery", "external": True}) == Topology()


@pytest.mark.parametrize(
    ("name", "spec", "fields"),
    [
        ("jobs", {"exchange": {"name": "jobs.in"}}, "spec.exchange.name"),
        ("jobs", {"exchange": {"name": "jobs.fence"}}, "spec.exchange.name"),
        ("jobs", {"exchange": {"name": "taskqueue.reports"}}, "spec.exchange.name"),
        ("jobs", {"queue": {"name": "a.dlq"}}, "spec.queue.name"),
        ("a.in", {}, "spec.queue.name and spec.exchange.name"),
        ("a.in", {"exchange": {"name": "tasks"}}, "spec.queue.name"),
        ("a.in", {"queue": {"name": "a"}}, "spec.exchange.name"),
    ],
)
def test_a_name_that_the_operator_derives_or_reserves_is_refused(
    name: str, spec: dict[str, object], fields: str
) -> None:
    with pytest.raises(TopologyFault) as raised:
        desired_topology(name, **spec)

    assert raised.value.reason is Reason.INVALID_SPEC
    assert raised.value.message.endswith(f"Choose another {fields}.")
    refused = raised.value.message.split('"')[1]
    message = raised.value.message.replace(refused, "NAME", 1)
    assert_approved("topology.name_reserved_by_operator", message.replace(fields, "FIELD"))
