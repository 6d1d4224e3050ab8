"""With `deletionPolicy: Drain`, workers empty the queue; then the deletion ends by itself."""

import pytest

from taskqueue_operator.topology.diff import Remove
from taskqueue_operator.topology.objects import Binding
from tests.approved import assert_approved
from tests.unit.control.control_harness import ControlHarness
from tests.unit.control.fake_cluster import KEY, taskqueue

from .deletion_outcome import is_deleted, retained
from .deletion_scenes import MARKERS, delay_retries, delete_with_workers

pytestmark = pytest.mark.looptime


@pytest.mark.parametrize(("policy", "workers"), [("Drain", 1), ("DeleteIfEmpty", 0)])
async def test_drain_starts_a_worker_for_fewer_messages_than_the_activation_threshold(
    harness: ControlHarness, policy: str, workers: int
) -> None:
    await harness.apply(deletionPolicy=policy, scaling={"maxReplicas": 5, "activationReady": 10})
    harness.broker.depths["thumbnails"] = (3, 0)
    await harness.settle(20)
    assert harness.replicas() == 0
    harness.cluster.delete(KEY)
    await harness.settle(60)
    assert harness.replicas() == workers
    assert not is_deleted(harness)


async def test_invariant_4_drain_waits_behind_a_fence_until_workers_have_emptied_the_queue(
    harness: ControlHarness,
) -> None:
    await harness.apply(deletionPolicy="Drain")
    harness.broker.depths["thumbnails"] = (90, 10)
    harness.cluster.delete(KEY)
    await harness.settle(60)
    assert_approved("deletion.draining", harness.cluster.condition("Ready")["message"])
    assert harness.cluster.condition("Ready")["reason"] == "NotEmpty"
    assert Binding("thumbnails.in", "thumbnails", to_queue=True) not in harness.broker.topology_.bindings
    assert harness.replicas() == 5
    harness.broker.depths["thumbnails"] = (0, 0)
    await harness.settle(30)
    assert is_deleted(harness)
    assert (harness.broker.queues, harness.broker.exchanges) == ({}, {})


async def test_invariant_4_drain_keeps_dead_letters_and_does_not_wait_for_them(harness: ControlHarness) -> None:
    await harness.apply(deletionPolicy="Drain")
    harness.broker.depths["thumbnails.dlq"] = (3, 0)
    harness.cluster.delete(KEY)
    await harness.settle(5)
    assert not is_deleted(harness), "nothing is certain yet"
    await harness.settle(30)
    assert is_deleted(harness)
    assert (set(harness.broker.queues), harness.broker.exchanges) == ({"thumbnails.dlq"}, {})
    assert retained(harness) == [], "that is what the policy says"
    await harness.apply()
    assert harness.cluster.condition("TopologyReady")["status"] == "True", "a TaskQueue of the same name uses it again"


async def test_invariant_4_drain_waits_for_delayed_retries(harness: ControlHarness) -> None:
    await harness.apply(deletionPolicy="Drain")
    await delay_retries(harness, 7)
    harness.cluster.delete(KEY)
    await harness.settle(60)
    assert not is_deleted(harness)
    harness.broker.depths["thumbnails"] = (7, 0)
    await harness.broker.apply([Remove(MARKERS)])
    await harness.settle(30)
    assert harness.replicas() == 1, "they have returned"
    harness.broker.depths["thumbnails"] = (0, 0)
    await harness.settle(30)
    assert is_deleted(harness)


async def test_a_drain_does_not_start_workers_that_their_user_has_paused(harness: ControlHarness) -> None:
    await harness.apply(deletionPolicy="Drain", scaling={"maxReplicas": 5, "mode": "Paused", "pausedReplicas": 0})
    harness.broker.depths["thumbnails"] = (3, 0)
    harness.cluster.delete(KEY)
    await harness.settle(30)
    assert harness.replicas() == 0
    assert_approved("deletion.draining_while_paused", harness.cluster.condition("Ready")["message"])
    harness.cluster.put(taskqueue(deletionPolicy="Drain"))
    await harness.settle(10)
    assert harness.replicas() == 1


@pytest.mark.parametrize("policy", ["DeleteIfEmpty", "Drain"])
async def test_invariant_8_with_delayed_retries_and_without_workers_the_topology_is_retained(
    harness: ControlHarness, policy: str
) -> None:
    """A namespace that is being deleted does not wait hours for a retry that no worker takes."""
    await harness.apply(deletionPolicy=policy)
    before = harness.broker.topology_
    await delay_retries(harness, 7)
    await delete_with_workers(harness)
    assert is_deleted(harness)
    await harness.broker.apply([Remove(MARKERS)])
    assert harness.broker.topology_ == before
    assert len(retained(harness)) == 1
