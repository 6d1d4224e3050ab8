"""With `settingsBy: Policy`, workers start once a policy keeps rejected messages; it stays as long as it is needed."""

from dataclasses import replace

import pytest

from taskqueue_operator.resource.queue import SettingsBy
from taskqueue_operator.topology.diff import Declare, Remove
from taskqueue_operator.topology.objects import Binding, Policy, Queue
from taskqueue_operator.topology.queue_settings import keeps_rejected
from tests.unit.control.control_harness import ControlHarness
from tests.unit.control.fake_cluster import KEY, taskqueue
from tests.unit.topology.in_memory_vhost import apply_policies

from .deletion_outcome import is_deleted
from .test_migration import INTERIM, MAIN, receiving, work

pytestmark = pytest.mark.looptime

BY_POLICY: dict[str, object] = {"settingsBy": "Policy"}
OURS = f"{MAIN}.settings"


def keeps(harness: ControlHarness, queue: str) -> bool:
    actual = apply_policies(harness.broker.topology_)
    return keeps_rejected(actual.queues[queue], MAIN, actual)


async def test_the_queue_its_policy_and_then_what_leads_to_it_are_declared_in_one_reconcile(
    harness: ControlHarness,
) -> None:
    await harness.apply(queue=BY_POLICY)
    assert harness.cluster.condition("TopologyReady")["status"] == "True"
    applied = [step.item for step in harness.broker.applied]
    (queue,) = (item for item in applied if isinstance(item, Queue) and item.name == MAIN)
    (policy,) = (item for item in applied if isinstance(item, Policy))
    entry = applied.index(Binding(f"{MAIN}.in", MAIN, to_queue=True))
    assert applied.index(queue) < applied.index(policy) < entry
    assert KEY in harness.cluster.deployments


async def test_no_worker_starts_and_no_message_arrives_while_another_policy_displaces_the_operators(
    harness: ControlHarness,
) -> None:
    company = Policy("company", ".*", "queues", {"max-length": 5}, 1000)
    await harness.broker.apply([Declare(company)])
    await harness.apply(queue=BY_POLICY)
    condition = harness.cluster.condition("TopologyReady")
    assert (condition["reason"], '"company"' in condition["message"]) == ("PolicyConflict", True)
    assert KEY not in harness.cluster.deployments
    assert MAIN not in harness.broker.exchanges

    await harness.broker.apply([Remove(company)])
    await harness.settle(600)
    assert harness.cluster.condition("TopologyReady")["status"] == "True"
    assert KEY in harness.cluster.deployments


async def test_a_retained_queue_keeps_its_rejected_messages_and_loses_its_limits(harness: ControlHarness) -> None:
    await harness.apply(queue=BY_POLICY | {"maxLength": 5})
    assert harness.broker.topology_.policies[OURS].definition["max-length"] == 5
    harness.cluster.delete(KEY)
    await harness.settle()
    assert "max-length" not in harness.broker.topology_.policies[OURS].definition
    assert keeps(harness, MAIN)


async def test_a_policy_that_is_listed_and_not_in_effect_yet_ends_no_comparison_of_topologies(
    harness: ControlHarness,
) -> None:
    """The queues of a vhost are listed before its policies: one may be written in between."""
    await harness.apply(queue=BY_POLICY)
    found = apply_policies(harness.broker.topology_)
    entry = Binding(f"{MAIN}.in", MAIN, to_queue=True)
    queues = {**found.queues, MAIN: replace(found.queues[MAIN], policy=None)}
    halfway = replace(found, queues=queues, bindings=found.bindings - {entry}, digest=b"halfway")
    await harness.controller.on_topology([KEY], halfway)
    await harness.settle(60)
    assert harness.cluster.condition("TopologyReady")["status"] == "True"


async def test_publishers_reach_a_retained_queue_again_whose_policy_was_deleted_during_the_deletion(
    harness: ControlHarness,
) -> None:
    await harness.apply(queue=BY_POLICY, deletionPolicy="DeleteIfEmpty")
    harness.broker.depths[MAIN] = (1, 0)
    harness.cluster.delete(KEY)
    await harness.settle(20)
    assert receiving(harness) == {f"{MAIN}.fence"}

    await harness.broker.apply([Remove(harness.broker.topology_.policies[OURS])])
    harness.cluster.put(taskqueue(KEY, queue=BY_POLICY, deletionPolicy="Retain"))
    await harness.settle(20)
    assert is_deleted(harness)
    assert receiving(harness) == {MAIN}
    assert keeps(harness, MAIN)


@pytest.mark.parametrize("before", SettingsBy)
async def test_a_migration_from_arguments_to_a_policy_and_back_keeps_rejected_messages_all_the_time(
    harness: ControlHarness, before: SettingsBy
) -> None:
    (after,) = set(SettingsBy) - {before}
    await harness.apply(queue={"settingsBy": before})
    await harness.apply(queue={"settingsBy": after})
    assert harness.cluster.condition("TopologyReady")["reason"] == "ImmutableDrift"

    harness.cluster.put(taskqueue(KEY, queue={"settingsBy": after, "changePolicy": "Migrate"}))
    for _ in range(120):
        await work(harness, 1)
        existing = harness.broker.topology_.queues.keys() & {MAIN, INTERIM}
        (reached,) = receiving(harness)
        assert keeps(harness, reached)
        assert all(keeps(harness, queue) for queue in existing if queue != reached or queue == MAIN)
    assert harness.cluster.condition("TopologyReady")["status"] == "True"
    assert INTERIM not in harness.broker.topology_.queues
    assert set(harness.broker.topology_.policies) == ({OURS} if after is SettingsBy.POLICY else set())
