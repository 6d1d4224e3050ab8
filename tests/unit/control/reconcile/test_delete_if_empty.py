"""With `deletionPolicy: DeleteIfEmpty`, a deletion waits until the queues are certainly empty."""

import asyncio
from collections.abc import Sequence

import pytest

from taskqueue_operator.topology.diff import Declare, Remove, Step
from taskqueue_operator.topology.objects import Binding, Exchange, Policy, Queue
from tests.approved import assert_approved
from tests.unit.control.control_harness import ControlHarness
from tests.unit.control.fake_broker import UNREACHABLE
from tests.unit.control.fake_cluster import KEY

from .deletion_outcome import is_deleted
from .deletion_scenes import MARKERS, delay_retries

pytestmark = pytest.mark.looptime


async def test_delete_if_empty_removes_empty_queues(harness: ControlHarness) -> None:
    await harness.apply(deletionPolicy="DeleteIfEmpty")
    harness.cluster.delete(KEY)
    await harness.settle(5)
    assert_approved("deletion.waiting_for_readings", harness.cluster.condition("Ready")["message"])
    await harness.settle(30)
    assert is_deleted(harness)
    assert harness.broker.queues == {}


@pytest.mark.slow
async def test_invariant_4_delete_if_empty_waits_behind_a_fence_for_the_last_message(harness: ControlHarness) -> None:
    await harness.apply(deletionPolicy="DeleteIfEmpty")
    harness.broker.depths["thumbnails"] = (100, 0)
    await harness.settle(20)
    harness.cluster.delete(KEY)
    await harness.settle(60)
    assert harness.cluster.condition("Ready")["reason"] == "NotEmpty"
    assert_approved("deletion.waiting_for_messages", harness.cluster.condition("Ready")["message"])
    assert Binding("thumbnails.in", "thumbnails", to_queue=True) not in harness.broker.topology_.bindings
    assert [binding.source for binding in harness.broker.topology_.bindings if binding.destination == "thumbnails"] == [
        "taskqueue.return"
    ], "retries still return"
    assert "thumbnails.fence" in harness.broker.topology_.queues
    assert harness.replicas() == 5
    harness.broker.depths["thumbnails"] = (0, 1)
    await harness.settle(60)
    assert not is_deleted(harness)
    harness.broker.depths["thumbnails"] = (0, 0)
    await harness.settle(30)
    assert is_deleted(harness)
    assert (harness.broker.queues, harness.broker.exchanges) == ({}, {})
    assert harness.broker.topology_.policies == {}


async def test_invariant_4_the_fence_exists_before_the_queue_is_unbound(harness: ControlHarness) -> None:
    await harness.apply(deletionPolicy="DeleteIfEmpty")
    harness.broker.applied.clear()
    harness.cluster.delete(KEY)
    await harness.settle(60)
    first = next(n for n, step in enumerate(harness.broker.applied) if isinstance(step, Remove))
    assert isinstance(harness.broker.applied[first].item, Binding)
    assert {"thumbnails.fence"} == {
        step.item.name for step in harness.broker.applied[:first] if isinstance(step.item, Exchange | Queue)
    }


@pytest.mark.slow
async def test_invariant_4_dead_letters_are_messages_too(harness: ControlHarness) -> None:
    await harness.apply(deletionPolicy="DeleteIfEmpty")
    harness.broker.depths["thumbnails.dlq"] = (3, 0)
    harness.cluster.delete(KEY)
    await harness.settle(60)
    assert not is_deleted(harness)
    assert 'queue "thumbnails.dlq" holds 3 ready messages' in harness.cluster.condition("Ready")["message"]


async def test_invariant_4_messages_that_wait_for_their_retry_are_messages_too(harness: ControlHarness) -> None:
    await harness.apply(deletionPolicy="DeleteIfEmpty")
    harness.broker.deferred["thumbnails"] = 5
    harness.cluster.delete(KEY)
    await harness.settle(60)
    assert not is_deleted(harness)
    assert_approved("deletion.waiting_for_deferred_messages", harness.cluster.condition("Ready")["message"])
    harness.broker.deferred.clear()
    await harness.settle(30)
    assert is_deleted(harness)


async def test_invariant_4_delayed_retries_are_messages_too(harness: ControlHarness) -> None:
    await harness.apply(deletionPolicy="DeleteIfEmpty")
    await delay_retries(harness, 7)
    harness.cluster.delete(KEY)
    await harness.settle(60)
    assert not is_deleted(harness)
    assert_approved("deletion.waiting_for_retries", harness.cluster.condition("Ready")["message"])
    await harness.broker.apply([Remove(MARKERS)])
    await harness.settle(30)
    assert is_deleted(harness)


async def test_invariant_4_retries_that_are_late_may_be_those_of_any_queue(harness: ControlHarness) -> None:
    await harness.apply(deletionPolicy="DeleteIfEmpty")
    delay_queue = Queue("taskqueue.delay.8s")
    await harness.broker.apply([Declare(delay_queue)])
    harness.broker.depths[delay_queue.name] = (9, 0)
    harness.broker.deferred[delay_queue.name] = 1
    harness.cluster.delete(KEY)
    await harness.settle(60)
    assert not is_deleted(harness)
    harness.broker.deferred.clear()
    await harness.settle(30)
    assert is_deleted(harness), "those whose time has not come have markers, and are not of this queue"


async def test_invariant_4_a_policy_that_displaces_the_fence_delays_the_deletion(harness: ControlHarness) -> None:
    await harness.apply(deletionPolicy="DeleteIfEmpty")
    company = Policy("company", ".*", "all", {"max-length": 9}, 5000)
    await harness.broker.apply([Declare(company)])
    harness.cluster.delete(KEY)
    await harness.settle(60)
    assert not is_deleted(harness)
    assert harness.cluster.condition("Ready")["reason"] == "PolicyConflict"
    assert Binding("thumbnails.in", "thumbnails", to_queue=True) in harness.broker.topology_.bindings
    await harness.broker.apply([Remove(company)])
    await harness.settle(60)
    assert is_deleted(harness)


@pytest.mark.slow
async def test_invariant_4_readings_before_an_unanswered_unbinding_are_discarded(
    harness: ControlHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await harness.apply(deletionPolicy="DeleteIfEmpty")
    await harness.settle(60)
    apply, clock = harness.broker.apply, asyncio.get_running_loop().time
    unbound: list[float] = []
    removed: list[float] = []

    async def unanswered(steps: Sequence[Step]) -> None:
        removals = [step.item for step in steps if isinstance(step, Remove)]
        if any(isinstance(item, Binding) for item in removals):
            await asyncio.sleep(15)
            await apply(steps)
            unbound.append(clock())
            raise UNREACHABLE
        removed.extend(clock() for item in removals if isinstance(item, Queue))
        await apply(steps)

    monkeypatch.setattr(harness.broker, "apply", unanswered)
    harness.cluster.delete(KEY)
    await harness.settle(60)
    assert is_deleted(harness)
    assert removed[0] - unbound[0] > 12


@pytest.mark.slow
async def test_invariant_4_a_queue_that_another_client_creates_again_is_not_deleted_again_unread(
    harness: ControlHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await harness.apply(deletionPolicy="DeleteIfEmpty")
    before, apply, removed = harness.broker.topology_, harness.broker.apply, []

    async def undone(steps: Sequence[Step]) -> None:
        await apply(steps)
        if any(isinstance(step, Remove) and isinstance(step.item, Queue) for step in steps):
            removed.append(steps)
            harness.broker.topology_ = before
            harness.broker.depths["thumbnails"] = (100, 0)
            assert len(removed) < 10, "it is deleted without backoff"

    monkeypatch.setattr(harness.broker, "apply", undone)
    harness.cluster.delete(KEY)
    await harness.settle(120)
    assert len(removed) == 1
    assert 'queue "thumbnails" holds 100 ready messages' in harness.cluster.condition("Ready")["message"]
