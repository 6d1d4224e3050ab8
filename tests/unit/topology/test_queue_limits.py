"""A policy limits the queue that workers consume, and goes when the limits go."""

import pytest

from taskqueue_operator.resource.faults import Reason, TopologyFault
from taskqueue_operator.topology.consumer_timeout import timeout_requirement
from taskqueue_operator.topology.diff import Remove, diff
from taskqueue_operator.topology.objects import Policy, Queue
from taskqueue_operator.topology.queue_limits import limits_requirement
from taskqueue_operator.topology.queue_policies import main_policies, main_policy
from tests.approved import assert_approved
from tests.unit.topology.builders import OWNER, desired_topology, taskqueue
from tests.unit.topology.in_memory_vhost import all_objects, vhost_with

DESIRED = desired_topology()
LIMITS: dict[str, object] = {"maxLength": 5, "messageTtlSeconds": 60}
BOTH = {"max-length": 5, "message-ttl": 60_000}


def limits(
    queue: dict[str, object], *policies: Policy, existing: Queue | None = None, seconds: int = 0
) -> Policy | None:
    """Return the policy for a queue with this spec; the existing queue is of the same type unless it is given."""
    existing = existing or desired_topology(queue=queue).queues["jobs"]
    actual = vhost_with(existing, *policies)
    timeout = timeout_requirement("jobs", seconds, actual.version)
    requirements = (limits_requirement(taskqueue(queue=queue), existing), timeout)
    return main_policy("jobs", [requirement for requirement in requirements if requirement is not None], actual)


def user_policy(priority: int, **definition: object) -> Policy:
    settings = {name.replace("_", "-"): value for name, value in definition.items()}
    return Policy("user", "^jobs", "queues", settings, priority)


@pytest.mark.parametrize(
    ("queue", "definition"),
    [
        (LIMITS, BOTH),
        ({"maxLengthBytes": 7, "overflow": "RejectPublish"}, {"max-length-bytes": 7}),
        ({"deliveryLimit": 3}, {"delivery-limit": 3}),
        ({"type": "Classic", "messageTtlSeconds": 1}, {"message-ttl": 1000}),
        ({"type": "Classic", "maxLength": 5}, {"max-length": 5, "overflow": "reject-publish"}),
        ({"type": "Classic", "maxLength": 5, "overflow": "DropHead"}, {"max-length": 5, "overflow": "drop-head"}),
    ],
)
def test_each_limit_is_a_setting_of_the_policy(queue: dict[str, object], definition: dict[str, object]) -> None:
    policy = limits(queue)
    assert policy is not None
    assert (policy.name, policy.pattern, policy.definition) == ("jobs.limits", "^jobs$", definition)


CLASSIC = desired_topology(queue={"type": "Classic"}).queues["jobs"]


@pytest.mark.parametrize(
    ("queue", "existing", "definition"),
    [
        ({"maxLength": 5}, CLASSIC, {"max-length": 5, "overflow": "reject-publish"}),
        ({"maxLength": 5, "deliveryLimit": 3}, CLASSIC, {"max-length": 5, "overflow": "reject-publish"}),
        ({"type": "Classic", "maxLength": 5, "overflow": "DropHead"}, DESIRED.queues["jobs"], {"max-length": 5}),
    ],
    ids=["to-quorum", "to-quorum-with-a-delivery-limit", "to-classic"],
)
def test_a_queue_that_is_replaced_has_the_limits_of_its_own_type(
    queue: dict[str, object], existing: Queue, definition: dict[str, object]
) -> None:
    """A full classic queue drops messages without an overflow, and a policy with a delivery limit is none for it."""
    policy = limits(queue, existing=existing)
    assert policy is not None
    assert policy.definition == definition


def test_a_delivery_limit_alone_needs_no_policy_for_a_classic_queue() -> None:
    assert limits({"deliveryLimit": 3}, existing=CLASSIC) is None


def test_without_limits_there_is_no_policy() -> None:
    assert limits({}) is None
    assert limits({"type": "Classic", "maxPriority": 5, "singleActiveConsumer": True}) is None


def test_one_policy_has_the_limits_the_timeout_and_what_the_policy_of_a_user_has() -> None:
    ours = limits(LIMITS, user_policy(1, max_length=7, queue_leader_locator="balanced"), seconds=7200)
    assert ours is not None
    assert ours.name == "jobs.limits over user"
    assert ours.definition == {"queue-leader-locator": "balanced", **BOTH, "consumer-timeout": 7_200_000}


def test_limits_that_are_gone_from_the_spec_are_removed() -> None:
    ours = limits(LIMITS)
    assert ours is not None
    assert diff(DESIRED, vhost_with(*all_objects(DESIRED), ours), owner=OWNER) == (Remove(ours),)


def test_a_policy_of_higher_priority_is_a_conflict_unless_it_has_the_same_limits() -> None:
    with pytest.raises(TopologyFault) as raised:
        limits(LIMITS, user_policy(5000, max_length=7))
    assert raised.value.reason is Reason.POLICY_CONFLICT
    assert_approved("topology.queue_limits_displaced", raised.value.message)
    assert limits(LIMITS, user_policy(5000, max_length=5, message_ttl=60_000)) is None


@pytest.mark.parametrize("name", ["jobs.limits", "jobs.retry", "jobs.timeout", "jobs.limits over user"])
def test_a_policy_of_a_user_with_the_name_of_one_purpose_and_the_settings_of_another_stays(name: str) -> None:
    theirs = Policy(name, "^jobs$", "queues", {"dead-letter-exchange": "rejected"}, 5)
    own = Policy("jobs.settings", "^jobs$", "queues", {"dead-letter-exchange": ""}, 5)

    assert main_policies("jobs", vhost_with(Queue("jobs"), theirs, own)) == [own]
