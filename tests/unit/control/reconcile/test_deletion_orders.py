"""TaskQueue, Secret, namespace and broker are deleted in any order: the deletion ends, and protected messages stay."""

from collections.abc import Callable, Mapping
from itertools import permutations
from typing import Final

import pytest

from tests.unit.control.control_harness import ControlHarness
from tests.unit.control.fake_broker import UNREACHABLE
from tests.unit.control.fake_cluster import KEY, SECRET

from .deletion_outcome import is_deleted, retained

pytestmark = [pytest.mark.looptime, pytest.mark.slow]

PAUSES: Final = (1, 8)
"""Seconds between two deletions: shorter and longer than until a deletion is tried again."""
LONGEST: Final = 80
"""Seconds until a deletion has ended: 60 s for a broker that is gone, and the next attempt."""
FOREGROUND: Final = "foregroundDeletion"
QUEUES: Final = {"thumbnails", "thumbnails.dlq"}


def delete_taskqueue(harness: ControlHarness) -> None:
    if not is_deleted(harness):
        harness.cluster.delete(KEY)


def delete_secret(harness: ControlHarness) -> None:
    harness.cluster.secrets.pop(SECRET, None)


def delete_namespace(harness: ControlHarness) -> None:
    """Delete all objects of the namespace; those with a finalizer stay."""
    delete_secret(harness)
    delete_taskqueue(harness)
    harness.cluster.remove("deployments", KEY)
    for pod in list(harness.cluster.pods):
        harness.cluster.remove("pods", pod)


def delete_broker(harness: ControlHarness) -> None:
    harness.broker.fault = UNREACHABLE


DELETIONS: Final[Mapping[str, Callable[[ControlHarness], None]]] = {
    "taskqueue": delete_taskqueue,
    "secret": delete_secret,
    "namespace": delete_namespace,
    "broker": delete_broker,
}
ORDERS: Final = [*permutations(DELETIONS)]


POLICIES: Final[Mapping[str, Mapping[str, object]]] = {
    "DeleteIfEmpty": {},
    "Drain": {},
    "Delete": {},
    # Of the operator's policy for them, something has to be removed.
    "Retain": {"worker": {"image": "acme/app:1.4", "protocol": "Plain", "taskTimeoutSeconds": 7200}},
}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("order", ORDERS, ids="-".join)
async def test_invariant_8_a_deletion_ends_in_any_order_and_keeps_the_messages_that_its_policy_protects(
    harness: ControlHarness, order: tuple[str, ...], policy: str
) -> None:
    await harness.apply(deletionPolicy=policy, **POLICIES[policy])
    harness.broker.depths["thumbnails"] = (3, 0)
    await harness.settle(5)
    harness.cluster.run_pods(KEY)
    for what in order:
        DELETIONS[what](harness)
        await harness.settle(PAUSES[(ORDERS.index(order) + len(policy)) % len(PAUSES)])
    await harness.settle(LONGEST)
    assert is_deleted(harness)
    if policy != "Delete" or retained(harness):
        assert set(harness.broker.queues) >= QUEUES
    else:
        assert not harness.broker.queues
    if order[0] == "broker":
        assert len(retained(harness)) == 1, "nothing can be applied, and the log says so"


@pytest.mark.parametrize("policy", ["DeleteIfEmpty", "Drain"])
async def test_invariant_8_a_foreground_deletion_ends_and_admits_publishers_again(
    harness: ControlHarness, policy: str
) -> None:
    """The workers are deleted before their TaskQueue."""
    await harness.apply(deletionPolicy=policy)
    before = harness.broker.topology_
    harness.broker.depths["thumbnails"] = (3, 0)
    harness.cluster.taskqueues[KEY]["metadata"]["finalizers"].append(FOREGROUND)
    harness.cluster.delete(KEY)
    harness.cluster.remove("deployments", KEY)
    await harness.settle(20)
    assert harness.cluster.taskqueues[KEY]["metadata"]["finalizers"] == [FOREGROUND], "another controller removes it"
    assert harness.broker.topology_ == before
    assert KEY not in harness.cluster.deployments
    assert len(retained(harness)) == 1
