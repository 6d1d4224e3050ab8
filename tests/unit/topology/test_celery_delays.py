from dataclasses import replace
from itertools import pairwise

import pytest

from taskqueue_operator.resource import bounds, names
from taskqueue_operator.resource.faults import Reason, TopologyFault
from taskqueue_operator.topology.celery_delays import celery_delay_steps
from taskqueue_operator.topology.deletion import removal_steps
from taskqueue_operator.topology.diff import Declare, Remove, Step, diff
from taskqueue_operator.topology.objects import Binding, Exchange, Topology
from tests.approved import assert_approved
from tests.unit.topology.builders import OWNER, desired_topology
from tests.unit.topology.in_memory_vhost import apply_steps
from tests.unit.topology.vhosts import DESIRED

KEY = "*." * 28 + "jobs"
DIRECT = Binding("celery_delayed_delivery", "jobs", to_queue=True, routing_key=KEY)
LANDING = Binding("celery_delayed_delivery", "taskqueue.return.jobs", to_queue=True, routing_key=KEY)
PARKED = Binding("celery_delayed_delivery", "taskqueue.parking", to_queue=True, routing_key=KEY)


def _limited(topology: Topology, *, has_limit: bool) -> Topology:
    queue = replace(topology.queues["jobs"], has_limit=has_limit)
    return replace(topology, queues={**topology.queues, "jobs": queue})


def steps(actual: Topology, queue: str = "jobs") -> tuple[Step, ...]:
    return celery_delay_steps(queue, actual, owner=OWNER)


def declared(actual: Topology, queue: str = "jobs") -> Topology:
    return apply_steps(steps(actual, queue), actual)


def waits(topology: Topology, exchange: str, key: list[str]) -> tuple[list[str], list[str]]:
    """Return the queues and the exchanges to which a topic exchange of the levels sends a message with this key."""
    found: tuple[list[str], list[str]] = [], []
    for binding in topology.bindings_from.get(exchange, ()):
        pattern = binding.routing_key.removesuffix(".#").split(".")
        if all(word in {"*", bit} for word, bit in zip(pattern, key, strict=False)):
            found[0 if binding.to_queue else 1].append(binding.destination)
    return found


def test_a_task_waits_in_the_levels_of_the_bits_of_its_delay_and_then_reaches_its_queue_alone() -> None:
    topology = declared(desired_topology("a.jobs"), "a.jobs")
    topology = declared(apply_steps(diff(DESIRED, topology, owner=OWNER), topology))
    exchange, seconds, key = "celery_delayed_27", 0, [*f"{100_000_005:028b}", "jobs"]
    while exchange != "celery_delayed_delivery":
        queues, exchanges = waits(topology, exchange, key)
        assert len(queues) + len(exchanges) == 1, "it is never doubled"
        for name in queues:
            arguments = topology.queues[name].arguments
            seconds += int(arguments["x-message-ttl"]) // 1000
            exchanges = [str(arguments["x-dead-letter-exchange"])]
        exchange = exchanges[0]
    assert seconds == 100_000_005
    assert waits(topology, exchange, key) == (["jobs"], [])


def test_the_objects_are_those_of_kombu() -> None:
    topology = declared(DESIRED)
    for level, lower in pairwise(range(27, -1, -1)):
        assert topology.exchanges[f"celery_delayed_{level}"] == Exchange(f"celery_delayed_{level}", "topic")
        assert topology.queues[f"celery_delayed_{level}"].arguments == {
            "x-queue-type": "quorum",
            "x-overflow": "reject-publish",
            "x-message-ttl": 2**level * 1000,
            "x-dead-letter-exchange": f"celery_delayed_{lower}",
            "x-dead-letter-strategy": "at-least-once",
        }
    assert topology.exchanges[names.CELERY_DELIVERY] == Exchange(names.CELERY_DELIVERY, "topic")
    assert Binding("taskqueue.parking", "taskqueue.parking", to_queue=True) in topology.bindings
    assert DIRECT in topology.bindings
    assert steps(topology) == ()
    assert diff(DESIRED, topology, owner=OWNER) == ()


@pytest.mark.parametrize("has_limit", [False, True])
def test_tasks_of_a_deleted_queue_are_parked_until_it_exists_again(has_limit: bool) -> None:  # noqa: FBT001
    before = declared(_limited(declared(DESIRED), has_limit=has_limit))
    removal = removal_steps(DESIRED, before, owner=OWNER)
    assert removal[0] == Declare(PARKED), "before the queue is gone: 32 tasks without a queue stop the level"
    after = apply_steps(removal, before)
    assert after.bindings_from[names.CELERY_DELIVERY] == [PARKED]
    assert removal_steps(DESIRED, after, owner=OWNER) == ()
    again = declared(apply_steps(diff(DESIRED, after, owner=OWNER), after))
    assert again.bindings_from[names.CELERY_DELIVERY] == [DIRECT]


def test_tasks_of_a_queue_that_is_not_deleted_are_not_parked() -> None:
    before = declared(DESIRED)
    assert all(isinstance(step, Remove) for step in removal_steps(DESIRED, before, owner="default/media/another"))


def test_a_limited_queue_that_celery_has_bound_too_gets_each_task_once() -> None:
    limited = _limited(declared(DESIRED), has_limit=True)
    of_celery = Binding(names.CELERY_DELIVERY, "jobs", to_queue=False, routing_key="#.jobs")
    both = declared(apply_steps([Declare(Exchange("jobs", "topic")), Declare(of_celery)], declared(limited)))
    assert set(both.bindings_from[names.CELERY_DELIVERY]) == {DIRECT, of_celery}


def test_all_of_it_belongs_to_the_vhost_and_stays() -> None:
    before = declared(DESIRED)
    after = apply_steps(removal_steps(DESIRED, before, owner=OWNER), before)
    assert {names.CELERY_DELIVERY, *names.CELERY_LEVELS, names.PARKING} == after.exchanges.keys()
    assert {*names.CELERY_LEVELS, names.PARKING} == after.queues.keys()
    assert not [binding for binding in after.bindings if binding.destination == "jobs"]


def test_a_queue_whose_length_is_limited_gets_its_tasks_through_its_landing_queue() -> None:
    limited = _limited(declared(DESIRED), has_limit=True)
    assert steps(limited)[-1] == Remove(DIRECT), "the new way exists before the old one ends"
    after = declared(limited)
    assert (DIRECT in after.bindings, LANDING in after.bindings) == (False, True)
    assert after.queues["taskqueue.return.jobs"].arguments["x-dead-letter-routing-key"] == "jobs"
    unlimited = declared(_limited(after, has_limit=False))
    assert (DIRECT in unlimited.bindings, LANDING in unlimited.bindings) == (True, False)


def test_what_celery_has_declared_itself_is_used_as_it_is() -> None:
    topology = declared(DESIRED)
    level = topology.queues["celery_delayed_3"]
    arguments = {**level.arguments, "x-queue-type": "classic"}
    del arguments["x-dead-letter-strategy"]
    theirs = replace(topology, queues={**topology.queues, level.name: replace(level, arguments=arguments)})
    assert steps(theirs) == ()


def test_what_would_lose_delayed_tasks_is_named() -> None:
    topology = declared(DESIRED)
    other = replace(topology.queues["celery_delayed_3"], arguments={"x-queue-type": "quorum"})
    with pytest.raises(TopologyFault) as raised:
        steps(replace(topology, queues={**topology.queues, other.name: other}))
    assert raised.value.reason is Reason.IMMUTABLE_DRIFT
    assert_approved("topology.celery_delays_differ", raised.value.message)
    direct = Exchange("celery_delayed_0", "direct")
    with pytest.raises(TopologyFault, match='Exchange "celery_delayed_0"'):
        steps(replace(topology, exchanges={**topology.exchanges, direct.name: direct}))


def test_what_was_deleted_is_declared_again() -> None:
    topology = declared(DESIRED)
    assert steps(apply_steps([Remove(DIRECT)], topology)) == (Declare(DIRECT),)
    assert declared(apply_steps([Remove(topology.queues["celery_delayed_9"])], topology)) == topology


def test_the_longest_name_leaves_room_for_the_bits() -> None:
    assert len(names.celery_routing_key("a" * bounds.DELAYED_NAME_CHARACTERS)) == 255
