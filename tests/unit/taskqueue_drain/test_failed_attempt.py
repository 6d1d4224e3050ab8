"""What follows after a failed attempt, from what anyone may have written into the headers."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from taskqueue_drain.bounds import ATTEMPT_NUMBER
from taskqueue_drain.environment import retry_settings_of
from taskqueue_drain.failed_attempt import Delivery, attempt, next_attempt

NOW = datetime(2026, 11, 29, tzinfo=UTC)


def delivery(headers: Mapping[str, Any]) -> Delivery:
    return Delivery(headers, "jobs", "events", "jobs.new")


@pytest.mark.parametrize(
    ("headers", "counts_failures", "number"),
    [
        ({}, False, 1),
        ({"x-attempt": 3}, False, 3),
        ({"x-attempt": 3, "x-delivery-count": 2}, False, 3),
        ({"x-attempt": 3, "x-delivery-count": 2}, True, 5),
        ({"x-delivery-count": 2}, True, 3),
        ({"x-attempt": True, "x-delivery-count": "2"}, True, 1),
        ({"x-attempt": -5, "x-delivery-count": -5}, True, 1),
        ({"x-attempt": 10**30}, False, ATTEMPT_NUMBER),
    ],
)
def test_the_number_of_an_attempt_is_that_of_the_copy_and_the_failures_that_the_broker_counts(
    headers: Mapping[str, Any],
    counts_failures: bool,  # noqa: FBT001 - a parameter of the test
    number: int,
) -> None:
    assert attempt(headers, counts_failures=counts_failures) == number


def test_a_copy_goes_to_its_queue_alone_with_the_number_of_the_next_attempt() -> None:
    theirs = {"task": "send", "CC": ["other"], "x-death": [{}], "x-delivery-count": 1, "x-first-death-queue": "a"}
    copy = next_attempt(delivery(theirs), 1, retry_settings_of({}), NOW)
    assert (copy.exchange, copy.routing_key, copy.is_dead_letter) == ("", "jobs", False)
    assert copy.headers == {
        "task": "send",
        "x-attempt": 2,
        "x-first-failure-at": "2026-11-29T00:00:00.000+00:00",
        "x-last-failure-at": "2026-11-29T00:00:00.000+00:00",
        "x-original-exchange": "events",
        "x-original-routing-key": "jobs.new",
    }


def test_a_dead_letter_says_where_the_message_came_from_before_it_was_copied() -> None:
    settings = retry_settings_of({"TASKQUEUE_MAX_ATTEMPTS": "2", "TASKQUEUE_DEAD_LETTER_EXCHANGE": "failed"})
    copied = next_attempt(delivery({}), 1, settings, NOW)
    again = Delivery(copied.headers, "jobs", "", "jobs")
    letter = next_attempt(again, attempt(again.headers, counts_failures=False), settings, NOW)
    assert (letter.exchange, letter.routing_key, letter.is_dead_letter) == ("failed", "jobs.dlq", True)
    assert letter.headers["x-attempt"] == 2
    assert letter.headers["x-failure-reason"] == "worker_lost"
    assert letter.headers["x-original-queue"] == "jobs"
    assert (letter.headers["x-original-exchange"], letter.headers["x-original-routing-key"]) == ("events", "jobs.new")


@pytest.mark.parametrize("text", [7, "x" * 256, "\ud800" * 256])
def test_what_no_copy_can_have_recorded_is_not_repeated(text: object) -> None:
    copy = next_attempt(delivery({"x-original-exchange": text}), 1, retry_settings_of({}), NOW)
    assert copy.headers["x-original-exchange"] == "events"


def test_one_attempt_acts_as_two() -> None:
    assert retry_settings_of({"TASKQUEUE_MAX_ATTEMPTS": "1"}).max_attempts == 2
