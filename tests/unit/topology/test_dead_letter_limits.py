"""A policy limits the dead-letter queue, and goes when the limits go."""

import pytest

from taskqueue_operator.resource.faults import Reason, TopologyFault
from taskqueue_operator.resource.retry import DeadLetter
from taskqueue_operator.topology.dead_letter_limits import dead_letter_limits
from taskqueue_operator.topology.deletion import removal_steps
from taskqueue_operator.topology.diff import Remove, diff
from taskqueue_operator.topology.objects import Policy
from tests.approved import assert_approved
from tests.unit.topology.builders import OWNER, desired_topology
from tests.unit.topology.in_memory_vhost import all_objects, vhost_with

DESIRED = desired_topology()
QUEUE = DESIRED.queues["jobs.dlq"]
LIMITS = DeadLetter(message_ttl_seconds=60, max_length=5)
BOTH = {"message-ttl": 60_000, "max-length": 5, "overflow": "drop-head"}
OURS = Policy("jobs.dlq.limits", r"^jobs\.dlq$", "queues", BOTH)


def user_policy(priority: int = 1, **definition: object) -> Policy:
    return Policy(
        "user", "^jobs", "queues", {name.replace("_", "-"): value for name, value in definition.items()}, priority
    )


def limits(wanted: DeadLetter | None, *policies: Policy) -> Policy | None:
    return dead_letter_limits("jobs", wanted, vhost_with(QUEUE, *policies))


@pytest.mark.parametrize(
    ("wanted", "definition"),
    [
        (LIMITS, BOTH),
        (DeadLetter(message_ttl_seconds=60), {"message-ttl": 60_000}),
        (DeadLetter(max_length=5), {"max-length": 5, "overflow": "drop-head"}),
    ],
)
def test_each_limit_is_a_setting_of_the_policy(wanted: DeadLetter, definition: dict[str, object]) -> None:
    policy = limits(wanted)
    assert policy is not None
    assert (policy.name, policy.pattern, policy.definition) == (OURS.name, OURS.pattern, definition)


@pytest.mark.parametrize("wanted", [None, DeadLetter(), DeadLetter(exchange="dlx")])
def test_without_limits_there_is_no_policy(wanted: DeadLetter | None) -> None:
    assert limits(wanted) is None


def test_before_the_dead_letter_queue_exists_the_broker_does_not_say_which_policy_it_applies() -> None:
    assert dead_letter_limits("jobs", LIMITS, vhost_with()) is None


def test_the_policy_repeats_the_policy_that_it_replaces() -> None:
    theirs = user_policy(delivery_limit=1_000_000, max_length=7, overflow="reject-publish")
    ours = limits(LIMITS, theirs)
    assert ours is not None
    assert (ours.name, ours.definition) == ("jobs.dlq.limits over user", {"delivery-limit": 1_000_000, **BOTH})
    assert limits(LIMITS, theirs, ours) == ours


def test_limits_that_are_gone_from_the_spec_are_removed_and_those_in_it_stay() -> None:
    actual = vhost_with(*all_objects(DESIRED), OURS)
    assert diff(DESIRED, actual, owner=OWNER) == (Remove(OURS),)
    assert Remove(OURS) in removal_steps(DESIRED, actual, owner=OWNER)


def test_a_policy_of_higher_priority_is_a_conflict_unless_it_has_the_same_limits() -> None:
    with pytest.raises(TopologyFault) as raised:
        limits(LIMITS, user_policy(priority=5000, max_length=7))
    assert raised.value.reason is Reason.POLICY_CONFLICT
    assert_approved("topology.limits_displaced", raised.value.message)
    assert limits(LIMITS, user_policy(priority=5000, message_ttl=60_000, max_length=5, overflow="drop-head")) is None
