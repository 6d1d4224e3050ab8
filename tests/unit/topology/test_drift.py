"""The text of an Event names what had drifted, and nothing else."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from taskqueue_operator.topology.diff import Declare, Remove, Step, diff
from taskqueue_operator.topology.drift import description, repairs
from taskqueue_operator.topology.objects import Binding, Policy, Topology
from tests.approved import assert_approved
from tests.unit.topology.builders import OWNER, desired_topology
from tests.unit.topology.in_memory_vhost import all_objects, apply_steps, vhost_with

DESIRED = desired_topology()
WHOLE = vhost_with(*all_objects(DESIRED))
QUEUE, DEAD_LETTERS = DESIRED.queues["jobs"], DESIRED.queues["jobs.dlq"]
POLICY = Policy("jobs.timeout", "^jobs$", "queues", {"consumer-timeout": 7_200_000})
FROM_EXCHANGE = next(binding for binding in DESIRED.bindings if not binding.to_queue)


def told(actual: Topology, desired: Topology = DESIRED, declared: Mapping[str, Policy] | None = None) -> str:
    """Return what is told of the repair of a vhost; nothing if it has not drifted."""
    steps = tuple(repairs(diff(desired, actual, owner=OWNER), actual, declared or {}))
    messages = {"jobs": 17, "jobs.dlq": 0}
    return description(steps, actual, messages.get) if steps else ""


def without(*steps: Step) -> Topology:
    return apply_steps(steps, WHOLE)


def test_a_vhost_as_declared_has_not_drifted() -> None:
    assert told(WHOLE) == ""


def test_deleted_queues_are_named_with_the_messages_that_are_lost() -> None:
    assert_approved("topology.drift_of_queues", told(without(Remove(QUEUE), Remove(DEAD_LETTERS))))


def test_the_number_of_lost_messages_may_be_unknown() -> None:
    text = description([Declare(QUEUE)], Topology(), lambda _: None)
    assert_approved("topology.drift_of_an_unread_queue", text)


def test_a_deleted_exchange_is_named_without_its_bindings() -> None:
    assert_approved("topology.drift_of_an_exchange", told(without(Remove(DESIRED.exchanges["jobs.in"]))))


def test_a_deleted_binding_is_named() -> None:
    assert_approved("topology.drift_of_a_binding", told(without(Remove(FROM_EXCHANGE))))


def test_a_deleted_binding_with_headers_is_named_without_its_owner() -> None:
    binding = {"exchange": "events", "arguments": {"x-match": "any", "format": "pdf"}}
    text = told(WHOLE, desired_topology(bindings=[binding]))
    assert_approved("topology.drift_of_a_binding_with_arguments", text)


def test_a_binding_that_another_client_added_to_the_private_exchange_is_named() -> None:
    added = replace(FROM_EXCHANGE, routing_key="theirs")
    assert_approved("topology.drift_of_another_binding", told(without(Declare(added))))


@pytest.mark.parametrize("actual", [{}, {"consumer-timeout": 1}], ids=["missing", "changed"])
def test_a_policy_that_another_client_changed_is_named(actual: dict[str, int]) -> None:
    desired = replace(DESIRED, policies={POLICY.name: POLICY})
    theirs = without(*([Declare(replace(POLICY, definition=actual))] if actual else []))
    text = told(theirs, desired, {POLICY.name: POLICY})
    assert f'policy "jobs.timeout" was {"changed" if actual else "missing"}' in text


def test_a_policy_that_the_workers_no_longer_need_has_not_drifted() -> None:
    assert told(without(Declare(POLICY)), declared={POLICY.name: POLICY}) == ""


def test_a_long_list_is_shortened() -> None:
    keys = [{"routingKey": f"key-{number}"} for number in range(9)]
    assert_approved("topology.drift_of_many", told(WHOLE, desired_topology(bindings=keys)))


def test_an_exchange_and_a_queue_of_one_name_are_told_apart() -> None:
    """The queue `jobs` is missing, and the binding from the exchange `jobs` as well."""
    text = told(without(Remove(QUEUE), Remove(FROM_EXCHANGE)))
    assert 'queue "jobs" was missing' in text
    assert 'binding from exchange "jobs"' in text
    assert str(Binding("jobs.in", "jobs", to_queue=True)) not in text
