"""A policy lets workers hold a message for as long as its task may run, where the broker's default is too short."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from taskqueue_operator.resource.faults import Reason, TopologyFault
from taskqueue_operator.resource.worker import Worker
from taskqueue_operator.topology.deletion import removal_steps
from taskqueue_operator.topology.diff import Declare, Remove, diff
from taskqueue_operator.topology.objects import Policy, Topology
from tests.approved import assert_approved
from tests.unit.topology.builders import OWNER, desired_topology, timeout_policy
from tests.unit.topology.in_memory_vhost import apply_steps, vhost_with

DESIRED = desired_topology()
QUEUE = DESIRED.queues["jobs"]
HOUR = 3600
TIMEOUT_OF_AN_HOUR = Policy("jobs.timeout", "^jobs$", "queues", {"consumer-timeout": HOUR * 1000})


def user_policy(pattern: str = "^jobs", apply_to: str = "queues", priority: int = 1, **definition: object) -> Policy:
    written = {name.replace("_", "-"): value for name, value in definition.items()}
    return Policy("user", pattern, apply_to, written, priority)


def timeout(seconds: int, *policies: Policy) -> Policy | None:
    return timeout_policy("jobs", seconds, vhost_with(QUEUE, *policies))


def definition(seconds: int, *policies: Policy) -> Mapping[str, Any] | None:
    policy = timeout(seconds, *policies)
    return policy.definition if policy is not None else None


@pytest.mark.parametrize(
    ("concurrency", "prefetch", "seconds"),
    [(1, None, 160), (8, None, 160), (8, 9, 260), (1, 8, 860), (10, "Auto", 560)],
)
def test_a_worker_holds_a_message_while_it_runs_all_messages_prefetched_before_it(
    concurrency: int, prefetch: int | str | None, seconds: int
) -> None:
    fields: dict[str, Any] = {"image": "i", "taskTimeoutSeconds": 100, "concurrency": concurrency, "prefetch": prefetch}
    if prefetch != "Auto":
        assert Worker.model_validate(fields | {"protocol": "Plain"}).hold_seconds() == seconds
    # A worker that is drained and undrained may still run the task that it ran before.
    assert Worker.model_validate(fields).hold_seconds() == seconds + 100


def test_the_default_task_timeout_fits_the_default_consumer_timeout() -> None:
    assert definition(Worker(image="i").hold_seconds()) is None


def test_a_policy_is_needed_only_above_the_default_consumer_timeout() -> None:
    assert definition(1800) is None
    assert timeout(HOUR) == TIMEOUT_OF_AN_HOUR


def test_before_the_queue_exists_the_broker_does_not_say_which_policy_it_applies() -> None:
    assert timeout_policy("jobs", HOUR, vhost_with()) is None


def test_the_policy_repeats_the_definition_of_the_policy_that_it_replaces_and_follows_its_changes() -> None:
    """The user changes a policy while the operator's policy replaces it."""
    ours = timeout(HOUR, user_policy(max_length=5))
    assert ours is not None
    assert (ours.name, ours.definition) == (
        "jobs.timeout over user",
        {"max-length": 5, "consumer-timeout": HOUR * 1000},
    )

    assert timeout(HOUR, user_policy(max_length=5), ours) == ours
    assert definition(HOUR, user_policy(max_length=7), ours) == {"max-length": 7, "consumer-timeout": HOUR * 1000}
    assert timeout(HOUR, ours) == TIMEOUT_OF_AN_HOUR


def test_a_changed_name_of_the_policy_leaves_no_other_policy_behind() -> None:
    ours = timeout(HOUR, user_policy(max_length=5))
    assert ours is not None
    actual = apply_steps([Declare(ours)], DESIRED)

    after = apply_steps(diff(desired_with(TIMEOUT_OF_AN_HOUR), actual, owner=OWNER), actual)

    assert after.policies == {"jobs.timeout": TIMEOUT_OF_AN_HOUR}


@pytest.mark.parametrize(
    "other", [user_policy("^other$", max_length=5), user_policy(apply_to="exchanges", max_length=5)]
)
def test_a_policy_that_the_broker_does_not_apply_to_the_queue_is_not_repeated(other: Policy) -> None:
    assert definition(HOUR, other) == {"consumer-timeout": HOUR * 1000}


def test_the_pattern_of_a_user_is_never_evaluated() -> None:
    """A pattern may need exponential time. The broker has limits for it; here it would stop everything."""
    endless = user_policy("^(a+)+$", max_length=5)
    queue = replace(QUEUE, name="a" * 40 + "!", policy="user")
    actual = Topology(queues={queue.name: queue}, policies={"user": endless})

    policy = timeout_policy(queue.name, HOUR, actual)

    assert policy is not None
    assert policy.definition["max-length"] == 5


def test_a_longer_timeout_set_by_a_user_is_enough_and_a_shorter_one_is_not() -> None:
    assert definition(HOUR, user_policy(consumer_timeout=HOUR * 1000)) is None
    assert definition(60, user_policy(consumer_timeout=1000)) == {"consumer-timeout": 60_000}


@pytest.mark.parametrize("existing", [[], [TIMEOUT_OF_AN_HOUR]])
def test_a_policy_of_higher_priority_without_a_sufficient_timeout_is_a_conflict(existing: list[Policy]) -> None:
    with pytest.raises(TopologyFault) as raised:
        timeout(HOUR, user_policy(priority=5000, max_length=5), *existing)

    assert raised.value.reason is Reason.POLICY_CONFLICT
    assert_approved("topology.timeout_policy_displaced", raised.value.message)
    assert timeout(60, user_policy(priority=5000, max_length=5), *existing) is None


def desired_with(policy: Policy) -> Topology:
    return replace(DESIRED, policies={policy.name: policy})


def test_the_policy_is_declared_first_and_updated_with_the_task_timeout_and_removed_when_not_needed() -> None:
    first, *_ = diff(desired_with(TIMEOUT_OF_AN_HOUR), vhost_with(), owner=OWNER)
    assert first == Declare(TIMEOUT_OF_AN_HOUR)

    actual = apply_steps([first], DESIRED)
    longer = replace(TIMEOUT_OF_AN_HOUR, definition={"consumer-timeout": 2 * HOUR * 1000})
    assert diff(desired_with(longer), actual, owner=OWNER) == (Declare(longer),)
    assert diff(DESIRED, actual, owner=OWNER) == (Remove(TIMEOUT_OF_AN_HOUR),)


def test_the_policy_is_removed_with_the_queue_whatever_its_timeout() -> None:
    actual = apply_steps([Declare(replace(TIMEOUT_OF_AN_HOUR, definition={"consumer-timeout": 1}))], DESIRED)

    after = apply_steps(removal_steps(DESIRED, actual, owner=OWNER), actual)

    assert after == Topology()
