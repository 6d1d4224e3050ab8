"""Adoption follows from the spec and the broker: what matches and has no owner, while the private exchange is owned."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue_operator.resource.faults import Fault, Reason, TopologyFault
from taskqueue_operator.topology.adoption import check_adoption, unmarked_exchanges, unmarked_queues, with_adopted
from taskqueue_operator.topology.deletion import fence_steps, removal_steps
from taskqueue_operator.topology.diff import Declare, diff
from taskqueue_operator.topology.objects import Binding, Exchange, Queue, Topology
from tests.approved import assert_approved
from tests.unit.topology.builders import OTHER_OWNER, OWNER, desired_topology, with_argument, with_owner
from tests.unit.topology.in_memory_vhost import apply_steps, vhost_with
from tests.unit.topology.vhosts import DESIRED, vhosts


def existing() -> Topology:
    """Return a vhost in which a user had declared everything but the private exchange."""
    items: list[Exchange | Queue] = [DESIRED.exchanges["jobs"], *DESIRED.queues.values()]
    actual = vhost_with(*(with_owner(item, None) for item in items))
    return apply_steps(diff(DESIRED, actual, owner=OWNER), actual)


def removed(actual: Topology) -> Topology:
    return apply_steps(removal_steps(DESIRED, with_adopted(DESIRED, actual, owner=OWNER), owner=OWNER), actual)


def test_without_adoption_what_existed_stays() -> None:
    after = apply_steps(removal_steps(DESIRED, existing(), owner=OWNER), existing())
    assert (set(after.exchanges), set(after.queues)) == ({"jobs"}, {"jobs", "jobs.dlq"})


def test_what_was_adopted_is_removed() -> None:
    assert removed(existing()) == Topology()


def test_an_adopted_exchange_that_others_are_bound_to_stays() -> None:
    audit = [Declare(Queue("audit")), Declare(Binding("jobs", "audit", to_queue=True, routing_key="jobs"))]
    after = removed(apply_steps(audit, existing()))
    assert (set(after.exchanges), set(after.queues)) == ({"jobs"}, {"audit"})


def test_nothing_is_adopted_before_the_private_exchange_exists() -> None:
    """Until then the spec never matched, or another TaskQueue has the queue."""
    unmarked = vhost_with(*(with_owner(queue, None) for queue in DESIRED.queues.values()))
    assert with_adopted(DESIRED, unmarked, owner=OWNER) == unmarked
    other = apply_steps([Declare(with_owner(DESIRED.exchanges["jobs.in"], OTHER_OWNER))], unmarked)
    assert with_adopted(DESIRED, other, owner=OWNER) == other


def test_what_does_not_match_any_more_is_not_adopted() -> None:
    actual = existing()
    changed = with_argument(actual.queues["jobs"], x_message_ttl=1)
    with pytest.raises(TopologyFault) as raised:
        with_adopted(DESIRED, replace(actual, queues={**actual.queues, "jobs": changed}), owner=OWNER)
    assert raised.value.reason is Reason.IMMUTABLE_DRIFT


def test_an_exchange_of_rabbitmq_is_never_adopted() -> None:
    desired = desired_topology(exchange={"name": "amq.topic", "type": "Topic"})
    actual = vhost_with(Exchange("amq.topic", "topic"))
    actual = apply_steps(diff(desired, actual, owner=OWNER), actual)
    steps = removal_steps(desired, with_adopted(desired, actual, owner=OWNER), owner=OWNER)
    assert set(apply_steps(steps, actual).exchanges) == {"amq.topic"}


def test_a_private_exchange_without_an_owner_prevents_adoption() -> None:
    actual = vhost_with(with_owner(DESIRED.exchanges["jobs.in"], None))
    with pytest.raises(TopologyFault) as raised:
        check_adoption(DESIRED, actual)
    assert raised.value.reason is Reason.NAME_CONFLICT
    assert_approved("adoption.private_exchange_without_owner", raised.value.message)
    check_adoption(DESIRED, existing())
    check_adoption(DESIRED, Topology())


def test_a_deletion_waits_while_another_exchange_leads_past_the_fence_to_the_queue() -> None:
    legacy = [Declare(Exchange("legacy", "fanout")), Declare(Binding("legacy", "jobs", to_queue=True))]
    actual = apply_steps(legacy, existing())
    for _ in range(2):  # declare the fence, unbind the queue
        seen = with_adopted(DESIRED, actual, owner=OWNER)
        actual = apply_steps(fence_steps(DESIRED, seen, owner=OWNER), actual)
    with pytest.raises(Fault) as raised:
        fence_steps(DESIRED, with_adopted(DESIRED, actual, owner=OWNER), owner=OWNER)
    assert raised.value.reason is Reason.DELETING
    assert_approved("deletion.bypass", raised.value.message)


def test_a_queue_that_is_not_adopted_may_be_bound_elsewhere_since_it_stays() -> None:
    legacy = [Declare(Exchange("legacy", "fanout")), Declare(Binding("legacy", "jobs", to_queue=True))]
    actual = apply_steps(legacy, existing())
    while steps := fence_steps(DESIRED, actual, owner=OWNER):
        actual = apply_steps(steps, actual)


def test_what_no_operator_has_created_is_listed() -> None:
    actual = existing()
    assert [item.name for item in unmarked_exchanges(DESIRED, actual)] == ["jobs"]
    assert [item.name for item in unmarked_queues(DESIRED, actual)] == ["jobs", "jobs.dlq"]
    assert not list(unmarked_queues(DESIRED, DESIRED))


@pytest.mark.slow
@given(vhosts(), st.booleans())
def test_adoption_removes_only_what_matches_and_has_no_other_owner(actual: Topology, resumed: bool) -> None:  # noqa: FBT001  a drawn value
    """Invariant: what another TaskQueue owns, or what the spec does not describe, is never removed."""
    try:
        seen = with_adopted(DESIRED, actual, owner=OWNER)
    except TopologyFault:
        return
    steps = removal_steps(DESIRED, seen, owner=OWNER)
    after = apply_steps(steps[: len(steps) // 2] if resumed else steps, actual)
    named = DESIRED.queues.keys() | DESIRED.exchanges.keys() | {"jobs.fence"}
    for before, left in ((actual.queues, after.queues), (actual.exchanges, after.exchanges)):
        gone = {name: item for name, item in before.items() if name not in left}
        assert gone.keys() <= named
        foreign = [name for name, item in gone.items() if item.arguments.get("x-taskqueue-owner") == OTHER_OWNER]
        assert foreign in ([], ["jobs"]), "only an exchange that several may share"
