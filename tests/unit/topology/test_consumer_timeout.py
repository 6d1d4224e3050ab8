"""A policy lets workers hold a message for as long as its task may run, where the broker's default is too short."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from taskqueue_operator.resource.worker import Worker
from taskqueue_operator.topology.consumer_timeout import consumer_timeout
from taskqueue_operator.topology.deletion import removal_steps
from taskqueue_operator.topology.diff import Declare, Remove, diff
from taskqueue_operator.topology.objects import Policy, Topology
from tests.unit.topology.builders import OWNER, desired_topology
from tests.unit.topology.in_memory_vhost import apply_steps, vhost_with

DESIRED = desired_topology()
QUEUE = DESIRED.queues["jobs"]
HOUR = 3600
TIMEOUT_OF_AN_HOUR = Policy("jobs.timeout", "^jobs$", "queues", {"consumer-timeout": HOUR * 1000})


def user_policy(pattern: str = "^jobs", apply_to: str = "queues", priority: int = 1, **definition: object) -> Policy:
    written = {name.replace("_", "-"): value for name, value in definition.items()}
    return Policy("user", pattern, apply_to, written, priority)


def definition(seconds: int, *policies: Policy) -> Mapping[str, Any] | None:
    policy = consumer_timeout(QUEUE, seconds, vhost_with(*policies))
    return policy.definition if policy is not None else None


@pytest.mark.parametrize(
    ("concurrency", "prefetch", "seconds"), [(1, None, 160), (8, None, 160), (8, 9, 260), (1, 8, 860)]
)
def test_a_worker_holds_a_message_while_it_runs_all_messages_prefetched_before_it(
    concurrency: int, prefetch: int | None, seconds: int
) -> None:
    fields: dict[str, Any] = {"image": "i", "taskTimeoutSeconds": 100, "concurrency": concurrency, "prefetch": prefetch}
    assert Worker.model_validate(fields | {"protocol": "Plain"}).hold_seconds == seconds
    # A worker that is drained and undrained may still run the task that it ran before.
    assert Worker.model_validate(fields).hold_seconds == seconds + 100


def test_the_default_task_timeout_fits_the_default_consumer_timeout() -> None:
    assert definition(Worker(image="i").hold_seconds) is None


def test_a_policy_is_needed_only_above_the_default_consumer_timeout() -> None:
    assert definition(1800) is None
    assert consumer_timeout(QUEUE, HOUR, vhost_with()) == TIMEOUT_OF_AN_HOUR


def test_the_policy_repeats_the_definition_of_the_policy_that_it_replaces() -> None:
    expected = {"max-length": 5, "consumer-timeout": HOUR * 1000}
    assert definition(HOUR, user_policy(max_length=5)) == expected
    assert definition(HOUR, user_policy(max_length=5), TIMEOUT_OF_AN_HOUR) == expected


@pytest.mark.parametrize(
    "other",
    [
        user_policy("^other$", max_length=5),
        user_policy(apply_to="exchanges", max_length=5),
        user_policy(apply_to="classic_queues", max_length=5),
        user_policy("(?R)(", max_length=5),
    ],
)
def test_a_policy_that_does_not_apply_to_the_queue_is_not_repeated(other: Policy) -> None:
    assert definition(HOUR, other) == {"consumer-timeout": HOUR * 1000}


def test_of_several_policies_the_one_with_the_highest_priority_is_repeated() -> None:
    low = user_policy(max_length=5)
    high = replace(user_policy(apply_to="quorum_queues", max_length=9, priority=2), name="high")
    assert definition(HOUR, high, low) == {"max-length": 9, "consumer-timeout": HOUR * 1000}


def test_a_longer_timeout_set_by_a_user_is_enough_and_a_shorter_one_is_not() -> None:
    assert definition(HOUR, user_policy(consumer_timeout=HOUR * 1000)) is None
    assert definition(60, user_policy(consumer_timeout=1000)) == {"consumer-timeout": 60_000}


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
