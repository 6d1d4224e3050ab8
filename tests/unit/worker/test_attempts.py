"""Which attempt of a task comes next."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue_drain.bounds import ATTEMPT_NUMBER
from taskqueue_worker.attempts import Attempt, AttemptState

ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.lists(st.integers())


def attempt(*, redelivered: bool = False, counts_failures: bool = False, **headers: object) -> Attempt:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Attempt.of(named, redelivered=redelivered, counts_failures=counts_failures)


def test_a_first_delivery_is_attempt_1_and_runs_beside_others() -> None:
    assert attempt() == Attempt(1, AttemptState.NEW, is_copy=False)


def test_a_message_that_was_delivered_before_may_have_begun_its_attempt() -> None:
    assert attempt(redelivered=True) == Attempt(1, AttemptState.RETURNED, is_copy=False)


def test_a_queue_that_counts_failures_tells_a_returned_message_that_did_not_begin() -> None:
    assert attempt(redelivered=True, counts_failures=True).state is AttemptState.NEW
    assert attempt(redelivered=True, counts_failures=True, x_delivery_count=1).state is AttemptState.RETURNED
    recorded = attempt(redelivered=True, counts_failures=True, x_attempt=3, x_suspect="recorded")
    assert recorded == Attempt(3, AttemptState.RECORDED, is_copy=True), "given back before its task began"


def test_a_copy_that_says_so_on_a_queue_that_counts_nothing_is_not_believed() -> None:
    assert attempt(redelivered=True, x_delivery_count=0, x_acquired_count=1).state is AttemptState.RETURNED


def test_a_poison_message_is_recorded_until_its_attempts_are_used() -> None:
    limit, returned = 3, attempt(redelivered=True)
    numbers = [returned.number]
    while not returned.is_last(limit) and len(numbers) <= limit:
        headers = returned.headers_of_next()
        recorded = Attempt.of(headers, redelivered=False, counts_failures=False)
        assert recorded.state is AttemptState.RECORDED
        returned = Attempt.of(headers, redelivered=True, counts_failures=False)
        numbers.append(recorded.number)
    assert numbers == [1, 2, 3]


def test_an_attempt_that_is_requeued_does_not_count() -> None:
    recorded = attempt(x_attempt=3, x_suspect="recorded")
    cancelled = Attempt.of(recorded.headers_of_cancelled(), redelivered=False, counts_failures=False)
    assert cancelled == Attempt(2, AttemptState.RETURNED, is_copy=True)
    again = Attempt.of(cancelled.headers_of_next(), redelivered=False, counts_failures=False)
    assert again == recorded


def test_the_first_return_is_never_the_last_attempt() -> None:
    assert not attempt(redelivered=True).is_last(1), "it may have been given back before its task began"
    assert attempt(redelivered=True, x_attempt=2, x_suspect="recorded").is_last(1)


def counted(*, redelivered: bool = True, limit: int = 3, **headers: object) -> Attempt:
    """Return the attempt of a delivery where the broker counts attempts."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Attempt.of(named, redelivered=redelivered, counts_failures=True, attempts_of_broker=limit)


def test_where_the_broker_counts_attempts_a_failed_message_runs_beside_others_until_they_are_used() -> None:
    numbers = [counted(redelivered=False), counted(), counted(x_delivery_count=1), counted(x_delivery_count=2)]
    assert numbers == [Attempt(number, AttemptState.NEW, is_copy=False) for number in (1, 1, 2, 3)]
    assert counted(x_attempt=2, x_delivery_count=1).number == 3, "a worker has counted before"


def test_a_message_that_comes_back_after_the_last_attempt_of_the_broker_was_lost_with_its_worker() -> None:
    """A worker that is there dead-letters it. It runs once more, alone: perhaps another task ended its workers."""
    lost = counted(x_delivery_count=3)
    assert (lost.state, lost.is_last(3)) == (AttemptState.RETURNED, False)
    alone = Attempt.of(lost.headers_of_next(), redelivered=False, counts_failures=True, attempts_of_broker=3)
    assert alone == Attempt(3, AttemptState.RECORDED, is_copy=True)
    again = Attempt.of(
        {**lost.headers_of_next(), "x-delivery-count": 1}, redelivered=True, counts_failures=True, attempts_of_broker=3
    )
    assert again.is_last(3)


@given(
    headers=st.dictionaries(st.sampled_from(["x-attempt", "x-suspect", "x-delivery-count"]), ANYTHING),
    redelivered=st.booleans(),
    limit=st.integers(0, 100),
)
def test_headers_of_any_kind_are_read_as_an_attempt(headers: dict[str, Any], limit: int, *, redelivered: bool) -> None:
    found = Attempt.of(headers, redelivered=redelivered, counts_failures=True, attempts_of_broker=limit)
    assert 1 <= found.number <= ATTEMPT_NUMBER
    found = Attempt.of(headers, redelivered=redelivered, counts_failures=False, attempts_of_broker=limit)
    assert 1 <= found.number <= ATTEMPT_NUMBER
    assert (found.state is AttemptState.RETURNED) or not redelivered


@pytest.mark.parametrize("number", [-1, 0, True, "7", 2**70])
def test_a_number_that_no_worker_wrote_does_no_harm(number: object) -> None:
    assert attempt(x_attempt=number).number in {1, ATTEMPT_NUMBER}
