from dataclasses import replace

import pytest

from taskqueue_operator.resource.faults import Reason, TopologyFault
from taskqueue_operator.resource.names import dead_letter_queue
from taskqueue_operator.topology.desired import queue_arguments
from taskqueue_operator.topology.diff import Declare, diff
from taskqueue_operator.topology.objects import Argument, Exchange, Policy, Queue, Topology
from tests.approved import assert_approved
from tests.unit.topology.builders import (
    OTHER_OWNER,
    OWNER,
    desired_topology,
    taskqueue,
    with_argument,
    with_owner,
)
from tests.unit.topology.in_memory_vhost import vhost_with

ALTERNATE: dict[str, object] = {"exchange": {"alternateExchange": "unrouted"}}
CELERY: dict[str, object] = {"queue": {"name": "celery"}}


def fault(actual: Topology, **spec: object) -> TopologyFault:
    with pytest.raises(TopologyFault) as raised:
        diff(desired_topology(**spec), actual, owner=OWNER)
    assert raised.value.terminal
    return raised.value


def user_queue(name: str, queue_type: str = "quorum", **arguments: Argument | None) -> Queue:
    """Return a queue that a user made, with the arguments of a TaskQueue's queue."""
    return with_argument(Queue(name, arguments=queue_arguments(dead_letter_queue(name), queue_type, {})), **arguments)


@pytest.mark.parametrize(
    ("actual", "spec", "key"),
    [
        (Queue("celery", arguments={"x-queue-type": "classic"}), CELERY, "topology.queue_type"),
        (Queue("celery"), CELERY, "topology.queue_type"),
        (
            user_queue("celery"),
            {"queue": {"name": "celery", "type": "Classic"}},
            "topology.queue_type_quorum",
        ),
        (user_queue("celery", "stream"), CELERY, "topology.queue_type_unsupported"),
        (
            user_queue("jobs", "classic", x_max_priority=5),
            {"queue": {"type": "Classic"}},
            "topology.queue_priority_not_in_spec",
        ),
        (
            user_queue("jobs", "classic"),
            {"queue": {"type": "Classic", "maxPriority": 9}},
            "topology.queue_priority_only_in_spec",
        ),
        (
            user_queue("jobs", x_single_active_consumer=True),
            {},
            "topology.queue_single_active_consumer_not_in_spec",
        ),
        (
            replace(user_queue("jobs", "classic"), durable=False),
            {"queue": {"type": "Classic"}},
            "topology.queue_transient",
        ),
        (
            replace(user_queue("jobs", "classic"), auto_delete=True),
            {"queue": {"type": "Classic"}},
            "topology.queue_auto_delete",
        ),
        (Queue("jobs", arguments={"x-queue-type": "quorum"}), {}, "topology.queue_argument_missing"),
        (user_queue("jobs", x_message_ttl=60000), {}, "topology.queue_argument_unexpected"),
        (
            Queue("celery", durable=False, arguments={"x-max-priority": 10, "x-dead-letter-exchange": "dlx"}),
            CELERY,
            "topology.queue_differs_in_everything",
        ),
        (
            user_queue("celery", "classic", x_max_priority=5),
            CELERY,
            "topology.queue_fits_another_spec",
        ),
        (Queue("jobs.dlq"), {}, "topology.dead_letter_queue_type"),
        (Exchange("jobs", "fanout"), {}, "topology.exchange_type"),
        (Exchange("jobs", "x-random"), {}, "topology.exchange_type_unsupported"),
        (Exchange("jobs", "x-consistent-hash"), {}, "topology.exchange_type_of_a_plugin"),
        (Exchange("jobs", "direct"), ALTERNATE, "topology.alternate_exchange_missing"),
        (
            Exchange("jobs", "headers", arguments={"alternate-exchange": "theirs"}),
            ALTERNATE,
            "topology.alternate_exchange_and_type",
        ),
        (Exchange("jobs", "direct", durable=False), {}, "topology.exchange_transient"),
        (
            Exchange("jobs.in", "fanout", arguments={"alternate-exchange": "elsewhere"}),
            {},
            "topology.private_exchange_argument",
        ),
    ],
)
def test_a_conflict_is_reported_with_both_values_and_the_way_out(
    actual: Exchange | Queue, spec: dict[str, object], key: str
) -> None:
    conflict = fault(vhost_with(actual), **spec)

    assert conflict.reason is Reason.IMMUTABLE_DRIFT
    assert_approved(key, conflict.message)


@pytest.mark.parametrize("limit", [{}, {"x-delivery-limit": 20}])
def test_a_dead_letter_queue_with_another_delivery_limit_is_used_as_it_is(limit: dict[str, int]) -> None:
    desired = desired_topology()
    earlier = Queue("jobs.dlq", arguments={"x-queue-type": "quorum", **limit})
    steps = diff(desired, vhost_with(desired.queues["jobs"], earlier), owner=OWNER)
    assert Declare(desired.queues["jobs.dlq"]) not in steps


def test_the_type_of_an_owned_queue_cannot_change_either() -> None:
    conflict = fault(vhost_with(*desired_topology().queues.values()), queue={"type": "Classic"})

    assert conflict.reason is Reason.IMMUTABLE_DRIFT
    assert "x-queue-type" in conflict.message


@pytest.mark.parametrize("kind", ["Queue", "Exchange"])
def test_the_queue_or_private_exchange_of_another_taskqueue_is_a_name_conflict(kind: str) -> None:
    desired = desired_topology()
    item = desired.queues["jobs"] if kind == "Queue" else desired.exchanges["jobs.in"]

    conflict = fault(vhost_with(with_owner(item, OTHER_OWNER)))

    assert conflict.reason is Reason.NAME_CONFLICT
    assert_approved("topology.name_conflict", conflict.message.replace(f'{kind} "{item.name}"', 'KIND "NAME"'))


def test_the_queue_of_a_taskqueue_in_another_installation_is_a_name_conflict() -> None:
    conflict = fault(vhost_with(with_owner(desired_topology().queues["jobs"], "staging/media/jobs")))

    assert conflict.reason is Reason.NAME_CONFLICT
    assert "media/jobs (installation staging)" in conflict.message
    message = conflict.message.replace('Queue "jobs"', 'KIND "NAME"').replace("media/jobs", "media/other")
    assert_approved("topology.name_conflict", message.replace("installation staging", "installation default"))


@pytest.mark.parametrize(
    ("actual", "key"),
    [
        (None, "topology.exchange_name_derived"),
        (Exchange("a.in", "direct", arguments={"x-taskqueue-owner": OWNER}), "topology.exchange_name_derived"),
        (Exchange("a.in", "fanout", arguments={"x-taskqueue-owner": OTHER_OWNER}), "topology.exchange_conflict"),
    ],
)
def test_the_private_exchange_of_a_taskqueue_is_never_the_publishers_exchange_of_another(
    actual: Exchange | None, key: str
) -> None:
    """Two TaskQueues that feed each other's exchange deliver every message twice."""
    conflict = fault(vhost_with(*filter(None, [actual])), exchange={"name": "a.in", "type": "Fanout"})

    assert conflict.reason is Reason.NAME_CONFLICT
    assert_approved(key, conflict.message)


def test_an_exchange_of_a_user_is_used_whatever_its_name_ends_with() -> None:
    desired = desired_topology(exchange={"name": "orders.in"})

    assert diff(desired, vhost_with(Exchange("orders.in", "direct")), owner=OWNER)


@pytest.mark.parametrize(
    ("spec", "key"),
    [
        ({"exchange": {"name": "amq.tasks"}}, "topology.exchange_name_reserved"),
        ({"queue": {"name": "amq.tasks"}}, "topology.queue_name_reserved"),
    ],
)
def test_a_name_that_rabbitmq_reserves_is_refused_before_the_broker_refuses_it(
    spec: dict[str, object], key: str
) -> None:
    conflict = fault(vhost_with(), **spec)

    assert conflict.reason is Reason.TOPOLOGY_REFUSED
    assert_approved(key, conflict.message)


@pytest.mark.parametrize("spec", [{}, {"exchange": {"alternateExchange": "theirs"}}])
def test_an_exchange_with_an_alternate_exchange_fits_a_spec_that_names_it_or_none(spec: dict[str, object]) -> None:
    desired, found = desired_topology(**spec), Exchange("jobs", "direct", arguments={"alternate-exchange": "theirs"})

    assert Declare(desired.exchanges["jobs"]) not in diff(desired, vhost_with(found), owner=OWNER)


def test_an_existing_exchange_of_the_broker_is_used() -> None:
    desired = desired_topology(exchange={"name": "amq.topic", "type": "Topic"})

    steps = diff(desired, vhost_with(Exchange("amq.topic", "topic")), owner=OWNER)

    assert not any(isinstance(step.item, Exchange) and step.item.name == "amq.topic" for step in steps)


@pytest.mark.parametrize("owner", [OTHER_OWNER, None])
def test_taskqueues_may_share_the_publishers_exchange(owner: str | None) -> None:
    shared = Exchange("tasks", "topic", arguments={"alternate-exchange": "lost"})
    desired = desired_topology(exchange={"name": "tasks", "type": "Topic"})

    steps = diff(desired, vhost_with(with_owner(shared, owner)), owner=OWNER)

    assert not any(isinstance(step.item, Exchange) and step.item.name == "tasks" for step in steps)


@pytest.mark.parametrize(
    "policy",
    [
        Policy("jobs.timeout", "^invoices", "queues", {"consumer-timeout": 7_200_000}, 5),
        Policy("jobs.timeout", "^jobs$", "exchanges", {"alternate-exchange": "unrouted"}, 5),
    ],
)
def test_a_policy_of_a_user_with_the_name_of_one_of_the_operator_is_never_overwritten(policy: Policy) -> None:
    ours = Policy("jobs.timeout", "^jobs$", "queues", {"consumer-timeout": 3_600_000})
    with pytest.raises(TopologyFault) as raised:
        diff(Topology(policies={ours.name: ours}), Topology(policies={policy.name: policy}), owner=OWNER)
    assert raised.value.reason is Reason.POLICY_CONFLICT
    assert policy.pattern in raised.value.message


def test_every_conflict_is_found_before_the_first_step() -> None:
    """The public exchange is missing and would be the first step; the conflict of a later object prevents it."""
    conflict = fault(vhost_with(with_owner(desired_topology().exchanges["jobs.in"], OTHER_OWNER)))

    assert conflict.reason is Reason.NAME_CONFLICT


def test_the_owner_is_the_installation_and_the_key_of_the_taskqueue() -> None:
    assert f"default/{taskqueue().key}" == OWNER


@pytest.mark.parametrize(("before", "now"), [("Classic", "Quorum"), ("Quorum", "Classic")])
def test_a_dead_letter_queue_of_the_operator_keeps_its_type(before: str, now: str) -> None:
    """Its dead letters stay when the main queue is replaced by one of another type."""
    kept = desired_topology(queue={"type": before}).queues["jobs.dlq"]

    steps = diff(desired_topology(queue={"type": now}), vhost_with(kept), owner=OWNER)

    assert kept.name not in {step.item.name for step in steps if isinstance(step.item, Queue)}
