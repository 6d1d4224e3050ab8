"""The broker leaves a message to a worker for as long as its task may take, by a policy where it needs one."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from taskqueue_operator.resource.worker import Worker
from taskqueue_operator.topology.consumer_timeout import consumer_timeout
from taskqueue_operator.topology.deletion import removal
from taskqueue_operator.topology.diff import Declare, Remove, difference
from taskqueue_operator.topology.objects import Policy, Topology
from tests.unit.topology.samples import OURS, taken, vhost, wanted

WANTED = wanted()
QUEUE = WANTED.queues["jobs"]
HOUR = 3600
OURS_FOR_AN_HOUR = Policy("jobs.timeout", "^jobs$", "queues", {"consumer-timeout": HOUR * 1000})


def theirs(pattern: str = "^jobs", apply_to: str = "queues", priority: int = 1, **definition: object) -> Policy:
    written = {name.replace("_", "-"): value for name, value in definition.items()}
    return Policy("theirs", pattern, apply_to, written, priority)


def asked(seconds: int, *there: Policy) -> Mapping[str, Any] | None:
    policy = consumer_timeout(QUEUE, seconds, vhost(*there))
    return policy.definition if policy is not None else None


@pytest.mark.parametrize(
    ("concurrency", "prefetch", "seconds"), [(1, None, 160), (8, None, 160), (8, 9, 260), (1, 8, 860)]
)
def test_a_message_waits_for_all_that_were_handed_out_before_it(
    concurrency: int, prefetch: int | None, seconds: int
) -> None:
    fields: dict[str, Any] = {"image": "i", "taskTimeoutSeconds": 100, "concurrency": concurrency, "prefetch": prefetch}
    assert Worker.model_validate(fields | {"protocol": "Plain"}).hold_seconds == seconds
    # Who can be drained and asked back has still to end what it ran all the while.
    assert Worker.model_validate(fields).hold_seconds == seconds + 100


def test_the_default_is_what_the_broker_grants_by_default() -> None:
    assert asked(Worker(image="i").hold_seconds) is None


def test_what_the_default_covers_takes_no_policy() -> None:
    assert asked(1800) is None
    assert consumer_timeout(QUEUE, HOUR, vhost()) == OURS_FOR_AN_HOUR


def test_the_policy_it_displaces_goes_on_to_hold() -> None:
    assert asked(HOUR, theirs(max_length=5)) == {"max-length": 5, "consumer-timeout": HOUR * 1000}
    assert asked(HOUR, theirs(max_length=5), OURS_FOR_AN_HOUR) == {"max-length": 5, "consumer-timeout": HOUR * 1000}


@pytest.mark.parametrize(
    "other",
    [
        theirs("^other$", max_length=5),
        theirs(apply_to="exchanges", max_length=5),
        theirs(apply_to="classic_queues", max_length=5),
        theirs("(?R)(", max_length=5),
    ],
)
def test_what_does_not_apply_to_the_queue_is_not_repeated(other: Policy) -> None:
    assert asked(HOUR, other) == {"consumer-timeout": HOUR * 1000}


def test_of_several_the_highest_is_repeated() -> None:
    low, high = theirs(max_length=5), replace(theirs(apply_to="quorum_queues", max_length=9, priority=2), name="high")
    assert asked(HOUR, high, low) == {"max-length": 9, "consumer-timeout": HOUR * 1000}


def test_a_longer_one_of_somebody_else_is_enough_and_a_shorter_one_is_not() -> None:
    assert asked(HOUR, theirs(consumer_timeout=HOUR * 1000)) is None
    assert asked(60, theirs(consumer_timeout=1000)) == {"consumer-timeout": 60_000}


def with_policy(policy: Policy) -> Topology:
    return replace(WANTED, policies={policy.name: policy})


def test_it_is_written_first_follows_the_tasks_and_goes_with_them() -> None:
    first, *_ = difference(with_policy(OURS_FOR_AN_HOUR), vhost(), owner=OURS)
    assert first == Declare(OURS_FOR_AN_HOUR)

    there = taken([first], WANTED)
    longer = replace(OURS_FOR_AN_HOUR, definition={"consumer-timeout": 2 * HOUR * 1000})
    assert difference(with_policy(longer), there, owner=OURS) == (Declare(longer),)
    assert difference(WANTED, there, owner=OURS) == (Remove(OURS_FOR_AN_HOUR),)


def test_it_goes_with_the_queue_whatever_it_says_by_then() -> None:
    there = taken([Declare(replace(OURS_FOR_AN_HOUR, definition={"consumer-timeout": 1}))], WANTED)

    after = taken(removal(WANTED, there, owner=OURS), there)

    assert after == Topology()
