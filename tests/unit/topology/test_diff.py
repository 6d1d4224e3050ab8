from collections.abc import Iterator, Mapping
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override

from taskqueue_operator.resource.faults import TopologyFault
from taskqueue_operator.topology.diff import Declare, Remove, Step, diff
from taskqueue_operator.topology.fence import fence_topology
from taskqueue_operator.topology.objects import Binding, Exchange, Policy, Topology
from tests.unit.topology.builders import OTHER_OWNER, OWNER, desired_topology, timeout_policy, with_owner
from tests.unit.topology.in_memory_vhost import all_objects, apply_steps, vhost_with
from tests.unit.topology.vhosts import DESIRED, ENTRY_BINDING, OLD_BINDING, vhosts


def steps(actual: Topology) -> tuple[Step, ...]:
    return diff(DESIRED, actual, owner=OWNER)


def test_an_empty_vhost_gets_exchanges_and_queues_and_then_bindings_from_the_queue_outwards() -> None:
    assert [step.item for step in steps(vhost_with())] == [
        *DESIRED.exchanges.values(),
        *DESIRED.queues.values(),
        ENTRY_BINDING,
        Binding("jobs", "jobs.in", to_queue=False, routing_key="jobs"),
    ]


def test_an_equal_topology_needs_no_step() -> None:
    """Invariant: no change, no write."""
    assert steps(DESIRED) == ()


def test_an_equal_queue_without_owner_is_used_and_stays_without_owner() -> None:
    before = vhost_with(with_owner(DESIRED.queues["jobs"], None))

    after = apply_steps(steps(before), before)

    assert after.queues["jobs"] == before.queues["jobs"]
    assert ENTRY_BINDING in after.bindings
    assert steps(after) == ()


def test_an_obsolete_binding_is_removed_after_the_new_binding_is_declared() -> None:
    new = Binding("jobs", "jobs.in", to_queue=False, routing_key="jobs")
    actual = apply_steps([Remove(new), Declare(OLD_BINDING)], DESIRED)

    assert steps(actual) == (Declare(new), Remove(OLD_BINDING))


def test_the_binding_of_a_renamed_exchange_is_removed() -> None:
    old = Exchange("before", "direct", arguments={"x-taskqueue-owner": OWNER})
    binding = Binding("before", "jobs.in", to_queue=False, routing_key="jobs")

    assert steps(apply_steps([Declare(old), Declare(binding)], DESIRED)) == (Remove(binding),)


def test_a_binding_that_a_user_made_from_another_exchange_stays() -> None:
    binding = Binding("headers", "jobs.in", to_queue=False)

    assert steps(apply_steps([Declare(Exchange("headers", "headers")), Declare(binding)], DESIRED)) == ()


HEADERS: dict[str, object] = {
    "exchange": {"type": "Headers"},
    "bindings": [{"arguments": {"format": "pdf", "pages": 1}}],
}


def test_bindings_with_other_arguments_are_other_bindings() -> None:
    desired = desired_topology(**HEADERS)
    (new,) = [item for item in desired.bindings if item.source == "jobs"]
    old = replace(new, arguments=(("format", "pdf"), ("pages", "1")))
    actual = apply_steps([Remove(new), Declare(old)], desired)

    assert diff(desired, actual, owner=OWNER) == (Declare(new), Remove(old))


def test_a_binding_from_an_exchange_of_others_is_removed_when_the_spec_has_it_no_longer() -> None:
    """A binding of a user from the same exchange stays: only the owner tells them apart."""
    events = Exchange("events", "topic", arguments={"x-taskqueue-owner": OTHER_OWNER})
    with_events = desired_topology(bindings=[{"exchange": "events", "routingKey": "image.*"}])
    (ours,) = [item for item in with_events.bindings if item.source == "events"]
    theirs = replace(ours, arguments=())
    before = vhost_with(events)
    bound = apply_steps([*diff(with_events, before, owner=OWNER), Declare(theirs)], before)

    assert diff(with_events, bound, owner=OWNER) == ()
    assert steps(bound) == (Remove(ours),)


def test_the_share_of_a_consistent_hash_exchange_is_removed_before_it_is_declared_again() -> None:
    desired = desired_topology(exchange={"type": "ConsistentHash"})
    share = Binding("jobs", "jobs.in", to_queue=False, routing_key="1")
    changed = replace(share, routing_key="10")
    actual = apply_steps([Remove(share), Declare(changed)], desired)

    assert desired.exchanges["jobs"].type == "x-consistent-hash"
    assert diff(desired, actual, owner=OWNER) == (Remove(changed), Declare(share))


def test_bindings_to_a_private_exchange_without_owner_stay() -> None:
    exchanges = with_owner(DESIRED.exchanges["jobs.in"], None), DESIRED.exchanges["jobs"]
    actual = apply_steps([Declare(OLD_BINDING)], vhost_with(*exchanges))

    assert Remove(OLD_BINDING) not in steps(actual)


def test_the_fence_of_a_cancelled_deletion_is_removed_after_the_queue_is_bound_again() -> None:
    fence = fence_topology("jobs", OWNER)
    unbound = apply_steps([Remove(ENTRY_BINDING)], DESIRED)

    found = steps(apply_steps([Declare(item) for item in all_objects(fence)], unbound))

    assert found[0] == Declare(ENTRY_BINDING)
    assert [step.item for step in found[1:]] == [
        fence.policies["jobs.fence"],
        fence.exchanges["jobs.fence"],
        fence.queues["jobs.fence"],
    ]
    assert all(isinstance(step, Remove) for step in found[1:])


@given(vhosts(), st.integers(0, 20))
def test_steps_interrupted_at_any_point_converge_in_the_next_round(actual: Topology, done: int) -> None:
    """Invariant: crash anywhere, converge after."""
    try:
        planned = steps(actual)
    except TopologyFault:
        return
    halfway = apply_steps(planned[:done], actual)
    after = apply_steps(steps(halfway), halfway)

    assert steps(after) == ()
    assert DESIRED.bindings <= after.bindings


@given(vhosts())
def test_an_object_that_is_not_owned_is_never_changed_or_removed(actual: Topology) -> None:
    """Invariant: what the operator did not create is never changed or deleted."""
    try:
        after = apply_steps(steps(actual), actual)
    except TopologyFault:
        return

    for before, now in ((actual.exchanges, after.exchanges), (actual.queues, after.queues)):
        for name, item in before.items():
            if item.arguments.get("x-taskqueue-owner") != OWNER:
                assert now[name] == item


def test_the_policies_of_a_vhost_are_walked_once_for_all_its_taskqueues() -> None:
    """With many policies, each TaskQueue that walks them holds up all others."""
    walked = 0

    class Policies(Mapping[str, Policy]):
        """Policies that count how often they are walked."""

        def __init__(self, policies: Mapping[str, Policy]) -> None:
            self._policies = policies

        @override
        def __getitem__(self, name: str) -> Policy:
            return self._policies[name]

        @override
        def __iter__(self) -> Iterator[str]:
            nonlocal walked
            walked += 1
            return iter(self._policies)

        @override
        def __len__(self) -> int:
            return len(self._policies)

    policies = Policies({f"p{n}": Policy(f"p{n}", ".*", "queues", {"max-length": n}, n % 999) for n in range(1000)})
    queues = {f"jobs-{n}": desired_topology(f"jobs-{n}").queues[f"jobs-{n}"] for n in range(100)}
    actual = Topology(queues={name: replace(queue, policy="p999") for name, queue in queues.items()}, policies=policies)

    for name in queues:
        assert timeout_policy(name, 7200, actual) is not None
        assert diff(desired_topology(name), actual, owner=f"default/media/{name}")

    assert walked == 1
