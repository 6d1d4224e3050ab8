"""`adoptionPolicy` decides what a deletion does with objects that existed before the TaskQueue."""

from dataclasses import replace

import pytest

from taskqueue_operator.topology.diff import Declare
from taskqueue_operator.topology.objects import Binding, Exchange, Queue
from tests.approved import assert_approved
from tests.unit.control.control_harness import ControlHarness
from tests.unit.control.fake_cluster import KEY
from tests.unit.topology.builders import desired_topology, with_owner

from .deletion_outcome import is_deleted, retained
from .deletion_scenes import delete_with_workers

pytestmark = pytest.mark.looptime

LEGACY = (Declare(Exchange("legacy", "fanout")), Declare(Binding("legacy", "thumbnails", to_queue=True)))


async def declare_as_a_user(harness: ControlHarness) -> None:
    """Declare exchange and queues as the operator would, without an owner."""
    desired = desired_topology("thumbnails")
    items: list[Exchange | Queue] = [desired.exchanges["thumbnails"], *desired.queues.values()]
    await harness.broker.apply([Declare(with_owner(item, None)) for item in items])


async def test_by_default_what_existed_before_stays(harness: ControlHarness) -> None:
    await declare_as_a_user(harness)
    await harness.apply(deletionPolicy="Delete")
    assert_approved("adoption.never", harness.cluster.condition("TopologyReady")["message"])
    harness.cluster.delete(KEY)
    await harness.settle(10)
    assert is_deleted(harness)
    assert set(harness.broker.queues) == {"thumbnails", "thumbnails.dlq"}
    assert set(harness.broker.exchanges) == {"thumbnails"}


async def test_invariant_4_what_was_adopted_is_deleted_when_it_is_empty(harness: ControlHarness) -> None:
    await declare_as_a_user(harness)
    await harness.apply(deletionPolicy="Drain", adoptionPolicy="IfMatching")
    assert_approved("adoption.if_matching", harness.cluster.condition("TopologyReady")["message"])
    harness.broker.depths["thumbnails"] = (3, 0)
    harness.cluster.delete(KEY)
    await harness.settle(40)
    assert not is_deleted(harness)
    await harness.restart()
    harness.broker.depths["thumbnails"] = (0, 0)
    await harness.settle(60)
    assert is_deleted(harness)
    assert (harness.broker.queues, harness.broker.exchanges) == ({}, {})


async def test_invariant_4_what_does_not_match_is_not_adopted(harness: ControlHarness) -> None:
    """A queue that differs: the TaskQueue was never ready, and its deletion removes nothing."""
    await declare_as_a_user(harness)
    exchange = replace(harness.broker.topology_.exchanges["thumbnails"], type="topic")
    harness.broker.topology_ = replace(harness.broker.topology_, exchanges={"thumbnails": exchange})
    before = harness.broker.topology_
    await harness.apply(deletionPolicy="Delete", adoptionPolicy="IfMatching")
    assert harness.cluster.condition("TopologyReady")["reason"] == "ImmutableDrift"
    harness.cluster.delete(KEY)
    await harness.settle(10)
    assert is_deleted(harness)
    assert harness.broker.topology_ == before


async def test_invariant_4_a_deletion_waits_while_another_exchange_leads_to_the_queue(harness: ControlHarness) -> None:
    """Its publishers would get confirms until the queue is deleted with their messages."""
    await declare_as_a_user(harness)
    await harness.broker.apply(LEGACY)
    await harness.apply(deletionPolicy="Drain", adoptionPolicy="IfMatching")
    harness.cluster.delete(KEY)
    await harness.settle(40)
    assert harness.cluster.condition("Ready")["reason"] == "Deleting"
    assert 'exchange "legacy" is bound to queue "thumbnails"' in harness.cluster.condition("Ready")["message"]
    harness.broker.topology_ = replace(
        harness.broker.topology_, bindings=harness.broker.topology_.bindings - {LEGACY[1].item}
    )
    await harness.settle(40)
    assert is_deleted(harness)
    assert harness.broker.queues == {}


async def test_invariant_8_a_fence_that_cannot_be_set_up_does_not_block_the_end_of_a_namespace(
    harness: ControlHarness,
) -> None:
    await harness.apply(deletionPolicy="Drain")
    await harness.broker.apply(LEGACY)
    before = harness.broker.topology_
    await delete_with_workers(harness)
    assert is_deleted(harness)
    assert harness.broker.topology_ == before
    assert len(retained(harness)) == 1
