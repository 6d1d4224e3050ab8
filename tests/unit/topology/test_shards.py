"""The topology of a queue with shards."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue_operator.resource.faults import Reason, TopologyFault
from taskqueue_operator.topology.deletion import fence_steps, is_fenced, removal_steps
from taskqueue_operator.topology.diff import Declare, Remove, diff
from taskqueue_operator.topology.fence import fence_topology
from taskqueue_operator.topology.objects import Binding, Queue, Topology
from taskqueue_operator.topology.queue_limits import limits_requirement
from taskqueue_operator.topology.queue_policies import main_policy
from tests.approved import assert_approved
from tests.unit.topology.builders import OWNER, desired_topology, taskqueue, with_argument
from tests.unit.topology.in_memory_vhost import all_objects, apply_steps

SPEC = {"shards": {"count": 3, "hashOn": "tenant"}}
DESIRED = desired_topology(queue=SPEC)
SHARDS = ("jobs.0", "jobs.1", "jobs.2")
ENTRIES = {Binding("jobs.in", name, to_queue=True, routing_key="1") for name in SHARDS}


def fault(actual: Topology, **queue: object) -> TopologyFault:
    with pytest.raises(TopologyFault) as raised:
        diff(desired_topology(queue=queue), actual, owner=OWNER)
    assert raised.value.reason is Reason.IMMUTABLE_DRIFT
    return raised.value


def test_messages_are_divided_behind_the_private_exchange_and_the_dead_letters_come_together() -> None:
    private = DESIRED.exchanges["jobs.in"]
    assert (private.type, private.arguments["hash-header"]) == ("x-consistent-hash", "tenant")
    assert set(DESIRED.queues) == {*SHARDS, "jobs.dlq"}
    assert {DESIRED.queues[name].arguments["x-dead-letter-routing-key"] for name in SHARDS} == {"jobs.dlq"}
    assert DESIRED.bindings > ENTRIES
    assert Binding("jobs", "jobs.in", to_queue=False, routing_key="jobs") in DESIRED.bindings


def test_without_a_header_the_routing_key_is_hashed() -> None:
    assert "hash-header" not in desired_topology(queue={"shards": {"count": 2}}).exchanges["jobs.in"].arguments


def test_an_exchange_that_needs_the_plugin_is_declared_first() -> None:
    """Without the plugin, nothing is created."""
    first = diff(DESIRED, Topology(), owner=OWNER)[0]
    assert first == Declare(DESIRED.exchanges["jobs.in"])


def test_a_missing_shard_is_declared_and_bound_again() -> None:
    actual = apply_steps([Remove(DESIRED.queues["jobs.1"])], DESIRED)
    steps = diff(DESIRED, actual, owner=OWNER)
    assert steps == (
        Declare(DESIRED.queues["jobs.1"]),
        Declare(Binding("jobs.in", "jobs.1", to_queue=True, routing_key="1")),
    )


def test_fewer_shards_are_refused_because_no_worker_would_consume_the_others() -> None:
    assert_approved("topology.fewer_shards", fault(DESIRED, shards={"count": 2, "hashOn": "tenant"}).message)


def test_a_deletion_with_fewer_shards_is_refused() -> None:
    fewer = desired_topology(queue={"shards": {"count": 2, "hashOn": "tenant"}})
    with pytest.raises(TopologyFault):
        fence_steps(fewer, DESIRED, owner=OWNER)
    with pytest.raises(TopologyFault):
        removal_steps(fewer, DESIRED, owner=OWNER)


def test_another_key_is_refused_with_the_one_that_fits() -> None:
    assert_approved("topology.another_hash_key", fault(DESIRED, shards={"count": 3}).message)


def test_shards_of_an_existing_queue_are_refused() -> None:
    assert_approved("topology.shards_of_a_queue", fault(desired_topology(), **SPEC).message)


def test_a_queue_instead_of_shards_is_refused() -> None:
    assert_approved("topology.queue_instead_of_shards", fault(DESIRED).message)


def test_a_shard_that_differs_is_refused_with_the_type_that_fits() -> None:
    classic = desired_topology(queue=SPEC | {"type": "Classic"})
    assert_approved("topology.shard_of_another_type", fault(classic, **SPEC).message)
    ttl = replace(
        DESIRED, queues={**DESIRED.queues, "jobs.2": with_argument(DESIRED.queues["jobs.2"], x_message_ttl=1)}
    )
    assert "Choose another spec.queue.name" in fault(ttl, **SPEC).message


def test_a_binding_that_takes_a_share_of_the_messages_is_removed() -> None:
    thief = Binding("jobs.in", "thief", to_queue=True, routing_key="9")
    actual = apply_steps([Declare(Queue("thief")), Declare(thief)], DESIRED)
    assert diff(DESIRED, actual, owner=OWNER) == (Remove(thief),)


def test_the_copies_that_a_fanout_sends_elsewhere_stay() -> None:
    actual = apply_steps(
        [Declare(Queue("audit")), Declare(Binding("jobs.in", "audit", to_queue=True))], desired_topology()
    )
    assert diff(desired_topology(), actual, owner=OWNER) == ()


def test_all_shards_are_unbound_together_and_bound_again_without_a_fence() -> None:
    actual = DESIRED
    actual = apply_steps(fence_steps(DESIRED, actual, owner=OWNER), actual)
    assert not is_fenced(DESIRED, actual, owner=OWNER)
    steps = fence_steps(DESIRED, actual, owner=OWNER)
    assert set(steps) == {Remove(entry) for entry in ENTRIES}
    actual = apply_steps(steps[:2], actual)
    assert not is_fenced(DESIRED, actual, owner=OWNER)
    actual = apply_steps(steps, actual)
    assert fence_steps(DESIRED, actual, owner=OWNER) == ()
    assert is_fenced(DESIRED, actual, owner=OWNER)
    unfenced = apply_steps([Remove(actual.policies["jobs.fence"])], actual)
    assert set(fence_steps(DESIRED, unfenced, owner=OWNER)) == {Declare(entry) for entry in ENTRIES}


def test_a_deletion_leaves_nothing() -> None:
    actual = DESIRED
    while steps := fence_steps(DESIRED, actual, owner=OWNER):
        actual = apply_steps(steps, actual)
    assert apply_steps(removal_steps(DESIRED, actual, owner=OWNER), actual) == Topology()


def test_each_shard_has_the_limits_of_the_queue_and_loses_them_with_the_spec() -> None:
    limited = taskqueue(queue=SPEC | {"maxLength": 5})
    policies = {}
    for name in limited.declared_queues:
        requirement = limits_requirement(limited, DESIRED.queues[name])
        assert requirement is not None
        policy = main_policy(name, [requirement], DESIRED)
        assert policy is not None
        policies[policy.name] = policy
    assert [policy.pattern for policy in policies.values()] == ["^jobs\\.0$", "^jobs\\.1$", "^jobs\\.2$"]
    actual = apply_steps([Declare(policy) for policy in policies.values()], DESIRED)
    assert diff(replace(DESIRED, policies=policies), actual, owner=OWNER) == ()
    assert set(diff(DESIRED, actual, owner=OWNER)) == {Remove(policy) for policy in policies.values()}
    assert {Remove(policy) for policy in policies.values()} < set(removal_steps(DESIRED, actual, owner=OWNER))


POSSIBLE = [*all_objects(DESIRED), *all_objects(fence_topology("jobs", OWNER))]


@given(st.sets(st.integers(0, len(POSSIBLE) - 1)))
def test_from_any_part_of_it_the_topology_is_completed_and_deleted(missing: set[int]) -> None:
    """Whatever a crash or another client has left."""
    everything = apply_steps(map(Declare, all_objects(fence_topology("jobs", OWNER))), DESIRED)
    part = apply_steps([Remove(POSSIBLE[number]) for number in sorted(missing)], everything)

    declared = apply_steps(diff(DESIRED, part, owner=OWNER), part)
    assert diff(DESIRED, declared, owner=OWNER) == ()
    assert declared == DESIRED

    for actual in (part, declared):
        for _ in range(4):
            steps = fence_steps(DESIRED, actual, owner=OWNER)
            assert not any(isinstance(step, Remove) and isinstance(step.item, Queue) for step in steps)
            actual = apply_steps(steps, actual)  # noqa: PLW2901  the vhost after these steps
        assert fence_steps(DESIRED, actual, owner=OWNER) == ()
        assert is_fenced(DESIRED, actual, owner=OWNER)
        assert apply_steps(removal_steps(DESIRED, actual, owner=OWNER), actual) == Topology()
