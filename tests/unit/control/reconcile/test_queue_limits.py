"""Limits of a queue follow the spec, and no policy is written beyond the budget of the vhost."""

import pytest

from taskqueue_operator.resource.names import FINALIZER
from taskqueue_operator.topology import policy_budget
from taskqueue_operator.topology.objects import Policy, Queue
from tests.unit.control.control_harness import ControlHarness
from tests.unit.control.fake_cluster import KEY

from .test_finalizer import finalizers

pytestmark = pytest.mark.looptime

LIMITS = {"maxLength": 5, "messageTtlSeconds": 60}
LANDING = "taskqueue.return.thumbnails"


async def test_the_limits_of_a_queue_follow_its_spec_and_go_with_the_taskqueue(harness: ControlHarness) -> None:
    await harness.apply(queue=LIMITS)
    assert harness.cluster.condition("TopologyReady")["status"] == "True"
    (policy,) = harness.broker.topology_.policies.values()
    assert (policy.name, policy.definition) == ("thumbnails.limits", {"max-length": 5, "message-ttl": 60_000})
    assert finalizers(harness) == [FINALIZER]
    declared = [step.item.name for step in harness.broker.applied if isinstance(step.item, Policy | Queue)]
    assert declared.index(LANDING) < declared.index(policy.name), (
        "a full queue refuses retries from its first moment on"
    )

    await harness.apply(queue={"messageTtlSeconds": 1})
    (policy,) = harness.broker.topology_.policies.values()
    assert policy.definition == {"message-ttl": 1000}

    await harness.apply()
    assert not harness.broker.topology_.policies
    await harness.apply(queue=LIMITS)
    harness.cluster.delete(KEY)
    await harness.settle()
    assert not harness.broker.topology_.policies
    assert "thumbnails" in harness.broker.queues


async def test_a_policy_beyond_the_budget_is_a_condition_and_the_rest_is_declared(
    harness: ControlHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy_budget, "POLICY_PAIRS", 1)
    await harness.apply(queue=LIMITS)
    assert harness.cluster.condition("TopologyReady")["reason"] == "PolicyBudget"
    assert "thumbnails" in harness.broker.queues
    monkeypatch.setattr(policy_budget, "POLICY_PAIRS", 10)
    await harness.settle(600)
    assert harness.cluster.condition("TopologyReady")["status"] == "True"
