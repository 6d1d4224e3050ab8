"""When a failed task is tried again, and in which delay queue it waits until then."""

from hypothesis import given
from hypothesis import strategies as st

from taskqueue_worker.bounds import LONGEST_DELAY_SECONDS
from taskqueue_worker.publishing.delay_queues import delay_seconds_of, marker_ms
from taskqueue_worker.retry_policy import RetryPolicy

SECONDS = st.integers(1, LONGEST_DELAY_SECONDS)
DELAYS_MS = st.integers(1, LONGEST_DELAY_SECONDS * 1000)


def test_the_longest_delay_doubles_until_its_limit() -> None:
    policy = RetryPolicy(10, initial_seconds=5, max_seconds=60)
    assert [policy.delay_ms(attempt, 1.0) // 1000 for attempt in range(1, 7)] == [5, 10, 20, 40, 60, 60]


def test_no_attempt_follows_the_last_one() -> None:
    policy = RetryPolicy(3, 5, 60)
    assert [policy.is_last(attempt) for attempt in (1, 2, 3, 4)] == [False, False, True, True]
    assert RetryPolicy(1, 5, 60).is_last(1)


@given(attempt=st.integers(1, 1_000_000), initial=SECONDS, longest=SECONDS, jitter=st.floats(0, 1))
def test_a_delay_is_a_part_of_the_longest_one_whatever_a_message_states(
    attempt: int, initial: int, longest: int, jitter: float
) -> None:
    delay = RetryPolicy(5, initial, longest).delay_ms(attempt, jitter)
    assert 1 <= delay <= longest * 1000
    whole = RetryPolicy(5, initial, longest).delay_ms(attempt, 1.0)
    assert abs(delay - whole * jitter) <= 1, "full jitter: evenly from nothing to the whole"


@given(delay_ms=DELAYS_MS)
def test_the_delay_queue_is_the_shortest_that_is_long_enough_and_there_are_16_of_them(delay_ms: int) -> None:
    seconds = delay_seconds_of(delay_ms)
    assert seconds in {1 << power for power in range(16)}
    assert delay_ms <= seconds * 1000
    assert seconds == 1 or delay_ms > seconds * 500
    assert marker_ms(seconds) > seconds * 1000
