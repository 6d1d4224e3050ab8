from contextlib import nullcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue_operator.resource.faults import Fault, Reason
from taskqueue_operator.topology.deletion import fence_steps, is_fenced, removal_steps
from taskqueue_operator.topology.diff import Declare, Remove, diff
from taskqueue_operator.topology.objects import Binding, Exchange, Policy, Queue, Topology
from tests.approved import assert_approved
from tests.unit.topology.builders import OTHER_OWNER, OWNER, desired_topology, with_owner
from tests.unit.topology.in_memory_vhost import apply_steps, vhost_with
from tests.unit.topology.vhosts import DESIRED, ENTRY_BINDING, vhosts


def with_fence(actual: Topology) -> Topology:
    while steps := fence_steps(DESIRED, actual, owner=OWNER):
        actual = apply_steps(steps, actual)
    return actual


def test_the_queue_is_unbound_only_after_the_fence_was_read() -> None:
    first = fence_steps(DESIRED, DESIRED, owner=OWNER)
    after = apply_steps(first, DESIRED)

    assert Remove(ENTRY_BINDING) not in first
    assert not is_fenced(DESIRED, after, owner=OWNER)
    assert fence_steps(DESIRED, after, owner=OWNER) == (Remove(ENTRY_BINDING),)
    assert is_fenced(DESIRED, apply_steps([Remove(ENTRY_BINDING)], after), owner=OWNER)


def displaced(actual: Topology) -> Topology:
    """Return the vhost with a policy for everything that has a higher priority than the fence."""
    return apply_steps([Declare(Policy("company", ".*", "all", {"max-length": 9}, 5000))], actual)


def test_the_queue_is_not_unbound_while_another_policy_displaces_the_fence() -> None:
    actual = displaced(DESIRED)
    actual = apply_steps(fence_steps(DESIRED, actual, owner=OWNER), actual)

    with pytest.raises(Fault) as raised:
        fence_steps(DESIRED, actual, owner=OWNER)

    assert raised.value.reason is Reason.POLICY_CONFLICT
    assert_approved("deletion.fence_displaced", raised.value.message)


def test_the_queue_is_bound_again_at_once_when_another_policy_displaces_the_fence() -> None:
    """Without fence and binding, RabbitMQ confirms messages and drops them."""
    assert fence_steps(DESIRED, displaced(with_fence(DESIRED)), owner=OWNER) == (Declare(ENTRY_BINDING),)


def test_the_queue_is_bound_again_when_the_fence_is_gone() -> None:
    fenced = with_fence(DESIRED)
    actual = apply_steps([Remove(fenced.policies["jobs.fence"])], fenced)

    assert fence_steps(DESIRED, actual, owner=OWNER) == (Declare(ENTRY_BINDING),)


@pytest.mark.parametrize(("owner", "waits"), [(OWNER, True), (None, False)])
def test_a_private_exchange_that_is_not_owned_is_not_fenced(owner: str | None, waits: bool) -> None:  # noqa: FBT001  a parameter of the test
    """It leads past the fence, which delays the deletion of an owned queue; another queue stays anyway."""
    objects = with_owner(DESIRED.exchanges["jobs.in"], None), with_owner(DESIRED.queues["jobs"], owner)
    actual = apply_steps([Declare(ENTRY_BINDING)], vhost_with(*objects))

    with pytest.raises(Fault, match="past the fence") if waits else nullcontext():
        assert fence_steps(DESIRED, actual, owner=OWNER) == ()


def test_queues_are_removed_before_exchanges_and_the_fence_last() -> None:
    steps = removal_steps(DESIRED, with_fence(DESIRED), owner=OWNER)

    assert [(type(step.item).__name__, getattr(step.item, "name", "")) for step in steps] == [
        ("Queue", "jobs"),
        ("Queue", "jobs.dlq"),
        ("Exchange", "jobs"),
        ("Exchange", "jobs.in"),
        ("Policy", "jobs.fence"),
        ("Exchange", "jobs.fence"),
        ("Queue", "jobs.fence"),
    ]


def test_an_exchange_that_another_taskqueue_is_bound_to_stays() -> None:
    exchange = {"name": "tasks", "type": "Topic"}
    deleted, other = desired_topology(exchange=exchange), desired_topology("other", exchange=exchange)
    shared = vhost_with(*deleted.exchanges.values())
    actual = apply_steps(diff(deleted, shared, owner=OWNER), shared)
    actual = apply_steps(diff(other, actual, owner=OTHER_OWNER), actual)

    after = apply_steps(removal_steps(deleted, actual, owner=OWNER), actual)

    assert set(after.exchanges) == {"tasks", "other.in"}
    assert set(after.queues) == {"other", "other.dlq"}
    assert diff(other, after, owner=OTHER_OWNER) == ()


def test_a_shared_exchange_goes_with_the_last_taskqueue_whichever_of_them_has_created_it() -> None:
    exchange = {"name": "tasks", "type": "Topic"}
    creator, last = desired_topology(exchange=exchange), desired_topology("other", exchange=exchange)
    actual = apply_steps(diff(creator, Topology(), owner=OWNER), Topology())
    actual = apply_steps(diff(last, actual, owner=OTHER_OWNER), actual)

    actual = apply_steps(removal_steps(creator, actual, owner=OWNER), actual)
    assert set(actual.exchanges) == {"tasks", "other.in"}

    actual = apply_steps(removal_steps(last, actual, owner=OTHER_OWNER), actual)
    assert actual == Topology()


def test_a_shared_exchange_goes_although_two_taskqueues_were_removed_at_the_same_time() -> None:
    exchange = {"name": "tasks", "type": "Topic"}
    one, two = desired_topology(exchange=exchange), desired_topology("other", exchange=exchange)
    both = apply_steps(diff(one, Topology(), owner=OWNER), Topology())
    both = apply_steps(diff(two, both, owner=OTHER_OWNER), both)

    steps = (*removal_steps(one, both, owner=OWNER), *removal_steps(two, both, owner=OTHER_OWNER))
    actual = apply_steps(steps, both)

    assert set(actual.exchanges) == {"tasks"}
    assert removal_steps(two, actual, owner=OTHER_OWNER) == (Remove(actual.exchanges["tasks"]),)


def test_the_exchange_of_another_taskqueue_goes_with_the_last_that_gets_messages_from_it() -> None:
    events = desired_topology("events")
    jobs = desired_topology(bindings=[{"exchange": "events", "routingKey": "image"}])
    both = apply_steps(diff(jobs, events, owner=OWNER), events)

    left = apply_steps(removal_steps(events, both, owner="default/media/events"), both)

    assert set(left.exchanges) == {"events", "jobs", "jobs.in"}
    assert apply_steps(removal_steps(jobs, left, owner=OWNER), left).exchanges == {}


@pytest.mark.parametrize("owner", [None, "elsewhere/media/other"])
def test_a_shared_exchange_that_no_taskqueue_of_the_installation_has_created_stays(owner: str | None) -> None:
    shared = vhost_with(with_owner(DESIRED.exchanges["jobs"], owner))
    actual = apply_steps(diff(DESIRED, shared, owner=OWNER), shared)

    assert apply_steps(removal_steps(DESIRED, actual, owner=OWNER), actual) == shared


def test_the_private_exchange_of_another_taskqueue_is_no_shared_exchange() -> None:
    deleted = desired_topology("other", exchange={"name": "jobs.in", "type": "Fanout"})
    fenced = with_fence(DESIRED)

    assert removal_steps(deleted, fenced, owner=OTHER_OWNER) == ()


def test_an_exchange_that_a_user_bound_a_queue_to_stays() -> None:
    audit = [Declare(Queue("audit")), Declare(Binding("jobs", "audit", to_queue=True, routing_key="jobs"))]
    actual = apply_steps(audit, DESIRED)

    after = apply_steps(removal_steps(DESIRED, actual, owner=OWNER), actual)

    assert set(after.exchanges) == {"jobs"}
    assert set(after.queues) == {"audit"}


def test_a_taskqueue_of_the_same_name_repairs_a_deletion_interrupted_at_any_step() -> None:
    """Invariant: crash anywhere, converge after."""
    fenced = with_fence(DESIRED)
    steps = removal_steps(DESIRED, fenced, owner=OWNER)
    for done in range(len(steps) + 1):
        actual = apply_steps(steps[:done], fenced)

        repaired = apply_steps(diff(DESIRED, actual, owner=OWNER), actual)

        assert repaired == DESIRED


@given(vhosts(), st.integers(0, 20))
def test_an_interrupted_removal_continues_until_no_owned_object_is_left(actual: Topology, done: int) -> None:
    halfway = apply_steps(removal_steps(DESIRED, actual, owner=OWNER)[:done], actual)
    after = apply_steps(removal_steps(DESIRED, halfway, owner=OWNER), halfway)

    assert removal_steps(DESIRED, after, owner=OWNER) == ()
    left: list[Exchange | Queue] = [*after.queues.values(), *after.exchanges.values()]
    owned = {item.name for item in left if _owner(item) == OWNER}
    still_bound = {binding.source for binding in after.bindings}
    assert owned <= still_bound | {"other", "elsewhere"}


@pytest.mark.slow
@given(vhosts())
def test_a_removal_never_touches_an_object_that_is_not_owned(actual: Topology) -> None:
    """Invariant: what the operator did not create is never changed or deleted."""
    after = apply_steps(removal_steps(DESIRED, actual, owner=OWNER), actual)

    assert {name: item for name, item in actual.queues.items() if _owner(item) != OWNER} == {
        name: item for name, item in after.queues.items() if _owner(item) != OWNER
    }
    for name in actual.exchanges.keys() - after.exchanges.keys():
        owner, is_bound = _owner(actual.exchanges[name]), bool(after.bindings_from.get(name))
        is_shared = name == "jobs" and owner == OTHER_OWNER
        assert owner == OWNER or is_shared
        assert not is_bound
    assert after.exchanges.items() <= actual.exchanges.items()


def _owner(item: Exchange | Queue) -> object:
    return item.arguments.get("x-taskqueue-owner")
