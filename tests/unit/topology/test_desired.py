import pytest

from taskqueue_operator.resource.faults import Reason, TopologyFault
from taskqueue_operator.topology.objects import Binding, Topology
from tests.unit.topology.samples import OURS, wanted

MARK = {"x-taskqueue-owner": OURS}


def test_the_least_taskqueue_wants_an_exchange_an_inlet_a_queue_and_a_dead_letter_queue() -> None:
    topology = wanted()

    assert {name: item.type for name, item in topology.exchanges.items()} == {"jobs": "direct", "jobs.in": "fanout"}
    assert all(item.durable and item.arguments == MARK for item in topology.exchanges.values())
    assert topology.queues["jobs"].arguments == MARK | {
        "x-queue-type": "quorum",
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": "jobs.dlq",
    }
    assert topology.queues["jobs.dlq"].arguments == MARK | {"x-queue-type": "quorum"}
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
    topology = wanted(**spec)

    assert {each.routing_key for each in topology.bindings if each.source == "jobs"} == keys


def test_a_classic_queue_has_its_highest_priority_and_its_dead_letter_queue_has_none() -> None:
    topology = wanted(queue={"name": "mail", "type": "Classic", "maxPriority": 9})

    assert topology.queues["mail"].arguments["x-max-priority"] == 9
    assert topology.queues["mail"].arguments["x-queue-type"] == "classic"
    assert topology.queues["mail.dlq"].arguments == MARK | {"x-queue-type": "classic"}


def test_an_external_queue_wants_nothing() -> None:
    assert wanted(queue={"name": "celery", "external": True}) == Topology()


@pytest.mark.parametrize("name", ["jobs.in", "jobs.fence"])
def test_an_exchange_named_like_a_private_one_is_refused(name: str) -> None:
    with pytest.raises(TopologyFault) as fault:
        wanted(exchange={"name": name})

    assert fault.value.reason is Reason.INVALID_SPEC
    assert (
        fault.value.message == f'spec.exchange.name "{name}" is the private exchange of queue "jobs". Choose another.'
    )
