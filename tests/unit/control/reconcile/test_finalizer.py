"""The deletion of a TaskQueue follows its policy, reports every wait, and always ends."""

from dataclasses import replace

import pytest

from taskqueue_operator.control.reconcile.topology import ROUNDS
from taskqueue_operator.resource.names import FINALIZER, Key
from taskqueue_operator.topology.objects import Queue
from tests.approved import assert_approved
from tests.unit.control.control_harness import ControlHarness
from tests.unit.control.fake_broker import UNREACHABLE
from tests.unit.control.fake_cluster import KEY, SECRET, taskqueue

from .deletion_outcome import is_deleted, retained
from .deletion_scenes import delete_with_workers

pytestmark = pytest.mark.looptime


def finalizers(harness: ControlHarness) -> list[str]:
    found: list[str] = harness.cluster.taskqueues[KEY]["metadata"].get("finalizers", [])
    return found


async def test_retain_needs_no_finalizer_and_keeps_the_topology(harness: ControlHarness) -> None:
    await harness.apply()
    before = harness.broker.topology_
    assert finalizers(harness) == []
    harness.cluster.delete(KEY)
    await harness.settle()
    assert is_deleted(harness)
    assert harness.broker.topology_ == before
    assert retained(harness) == []


async def test_the_finalizer_is_written_before_any_object_is_created(harness: ControlHarness) -> None:
    await harness.apply(deletionPolicy="Delete")
    assert harness.cluster.writes[0] == ("finalizers", [FINALIZER])


async def test_a_change_to_retain_removes_the_finalizer(harness: ControlHarness) -> None:
    await harness.apply(deletionPolicy="Delete")
    await harness.apply()
    assert finalizers(harness) == []


@pytest.mark.slow
async def test_delete_waits_for_the_workers_then_removes_queues_with_their_messages(harness: ControlHarness) -> None:
    await harness.apply(deletionPolicy="Delete")
    harness.broker.depths["thumbnails"] = (100, 5)
    await harness.settle()
    harness.cluster.run_pods(KEY)
    harness.cluster.delete(KEY)
    await harness.settle()
    assert harness.replicas() == 0
    assert set(harness.broker.queues) == {"thumbnails", "thumbnails.dlq"}
    assert harness.cluster.condition("Ready")["reason"] == "Deleting"
    assert_approved("deletion.waiting_for_workers", harness.cluster.condition("Ready")["message"])
    await harness.settle(600)
    assert not is_deleted(harness)
    harness.cluster.run_pods(KEY)
    await harness.settle(6)
    assert is_deleted(harness)
    assert (harness.broker.queues, harness.broker.exchanges) == ({}, {})


async def test_delete_waits_for_the_workers_after_a_restart_too(harness: ControlHarness) -> None:
    """The watches of TaskQueues and Deployments are independent: either may be first."""
    await harness.apply(deletionPolicy="Delete")
    harness.broker.depths["thumbnails"] = (100, 5)
    await harness.settle()
    harness.cluster.run_pods(KEY)
    harness.cluster.delete(KEY)
    harness.cluster.silent = True
    await harness.restart()
    harness.controller.cache.deployments.clear()
    await harness.settle()
    assert set(harness.broker.queues) == {"thumbnails", "thumbnails.dlq"}
    assert not is_deleted(harness)


async def test_a_pod_that_is_gone_before_its_watch_starts_does_not_block_a_deletion(harness: ControlHarness) -> None:
    await harness.apply(deletionPolicy="Delete")
    harness.broker.depths["thumbnails"] = (100, 5)
    await harness.settle()
    harness.cluster.run_pods(KEY)
    await harness.restart()
    harness.cluster.delete(KEY)
    await harness.settle()
    harness.cluster.silent = True
    for pod in list(harness.cluster.pods):
        harness.cluster.remove("pods", pod)
    harness.cluster.silent = False
    harness.cluster.run_pods(KEY)
    await harness.settle(10)
    assert not is_deleted(harness), "the cache still has the pod"
    await harness.settle(30)
    assert is_deleted(harness)


async def test_retain_removes_the_policy_of_the_operator_once_its_workers_have_ended(harness: ControlHarness) -> None:
    worker = {"image": "i", "protocol": "Plain", "taskTimeoutSeconds": 7200}
    await harness.apply(worker=worker, scaling={"maxReplicas": 1, "minReplicas": 1})
    assert set(harness.broker.topology_.policies) == {"thumbnails.timeout"}
    harness.cluster.run_pods(KEY)
    harness.cluster.delete(KEY)
    await harness.settle()
    assert set(harness.broker.topology_.policies) == {"thumbnails.timeout"}
    harness.cluster.run_pods(KEY)
    await harness.settle(10)
    assert is_deleted(harness)
    assert harness.broker.topology_.policies == {}
    assert set(harness.broker.queues) == {"thumbnails", "thumbnails.dlq"}


async def test_a_waiting_deletion_ends_when_the_policy_becomes_retain(harness: ControlHarness) -> None:
    await harness.apply(deletionPolicy="DeleteIfEmpty")
    before = harness.broker.topology_
    harness.broker.depths["thumbnails"] = (100, 0)
    harness.cluster.delete(KEY)
    await harness.settle(30)
    harness.cluster.put(taskqueue())
    await harness.settle(10)
    assert is_deleted(harness)
    assert harness.broker.topology_ == before


async def test_invariant_8_with_messages_and_without_workers_the_topology_is_retained(harness: ControlHarness) -> None:
    await harness.apply(deletionPolicy="DeleteIfEmpty")
    before = harness.broker.topology_
    harness.broker.depths["thumbnails"] = (100, 0)
    await delete_with_workers(harness)
    assert is_deleted(harness)
    assert harness.broker.topology_ == before
    (reason,) = retained(harness)
    assert_approved("deletion.retained_without_workers", reason)


@pytest.mark.parametrize("policy", ["DeleteIfEmpty", "Delete"])
async def test_invariant_8_without_the_secret_the_topology_is_retained(harness: ControlHarness, policy: str) -> None:
    await harness.apply(deletionPolicy=policy)
    before = harness.broker.topology_
    harness.cluster.secrets.pop(SECRET)
    await harness.settle(61)
    harness.cluster.delete(KEY)
    await harness.settle(10)
    assert is_deleted(harness)
    assert harness.broker.topology_ == before
    assert "Secret media/rabbitmq not found" in retained(harness)[0]


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["DeleteIfEmpty", "Delete"])
async def test_invariant_8_a_deletion_waits_one_minute_for_an_unreachable_broker(
    harness: ControlHarness, policy: str
) -> None:
    await harness.apply(deletionPolicy=policy)
    harness.broker.fault = UNREACHABLE
    harness.cluster.delete(KEY)
    await harness.settle(50)
    assert not is_deleted(harness)
    assert harness.cluster.condition("BrokerReachable")["reason"] == "BrokerUnreachable"
    await harness.settle(30)
    assert is_deleted(harness)
    assert retained(harness) == [UNREACHABLE.message]


@pytest.mark.slow
async def test_invariant_8_a_deletion_waits_one_minute_for_an_unreadable_queue(
    harness: ControlHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(_: object) -> dict[str, object]:
        raise UNREACHABLE

    await harness.apply(deletionPolicy="DeleteIfEmpty")
    monkeypatch.setattr(harness.broker, "probe", silent)
    harness.cluster.delete(KEY)
    await harness.settle(50)
    assert not is_deleted(harness)
    await harness.settle(40)
    assert is_deleted(harness)
    assert "thumbnails" in harness.broker.topology_.queues


async def test_invariant_8_a_foreign_queue_of_the_fence_name_does_not_block_a_deletion(
    harness: ControlHarness,
) -> None:
    await harness.apply(deletionPolicy="DeleteIfEmpty")
    foreign = Queue("thumbnails.fence", arguments={"x-queue-type": "quorum"})
    harness.broker.topology_ = replace(
        harness.broker.topology_, queues={**harness.broker.topology_.queues, foreign.name: foreign}
    )
    harness.cluster.delete(KEY)
    await harness.settle(10)
    assert is_deleted(harness)
    assert retained(harness)


async def test_delete_needs_only_the_secret_of_the_broker(harness: ControlHarness) -> None:
    own = Key(KEY.namespace, "workers-own")
    harness.cluster.secrets[own] = harness.cluster.secrets[SECRET]
    await harness.apply(deletionPolicy="Delete", worker={"image": "acme/app:1", "secretRef": {"name": own.name}})
    del harness.cluster.secrets[own]
    harness.cluster.delete(KEY)
    await harness.settle(10)
    assert is_deleted(harness)
    assert not harness.broker.queues


async def test_invariant_8_an_invalid_spec_does_not_block_a_deletion(harness: ControlHarness) -> None:
    await harness.apply(deletionPolicy="Delete", exchange={"name": "thumbnails.in"})
    assert harness.cluster.condition("Stalled")["reason"] == "InvalidSpec"
    harness.cluster.delete(KEY)
    await harness.settle(10)
    assert is_deleted(harness)


async def test_invariant_8_a_fence_that_another_client_removes_is_restored_with_backoff(
    harness: ControlHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await harness.apply(deletionPolicy="DeleteIfEmpty")
    harness.broker.applied.clear()
    taken: list[object] = []

    async def in_vain(steps: list[object]) -> None:
        taken.extend(steps)

    monkeypatch.setattr(harness.broker, "apply", in_vain)
    harness.cluster.delete(KEY)
    await harness.settle(11)
    assert len(taken) <= 3 * ROUNDS * 4
    assert_approved("deletion.bindings_restored", harness.cluster.condition("Ready")["message"])


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["DeleteIfEmpty", "Delete"])
async def test_invariant_7_a_deletion_ends_after_a_restart_at_any_step(harness: ControlHarness, policy: str) -> None:
    await harness.apply(deletionPolicy=policy)
    harness.cluster.delete(KEY)
    for _ in range(30):
        if is_deleted(harness):
            break
        await harness.settle(0.7)
        await harness.restart()
    await harness.settle(60)
    assert is_deleted(harness)
    assert (harness.broker.queues, harness.broker.exchanges) == ({}, {})
