"""Delays between attempts."""

from taskqueue_drain.backoff import Backoff


def test_delays_double_from_half_a_second_to_30_seconds() -> None:
    backoff = Backoff(jitter=lambda: 1.0)
    assert [backoff.next_delay(0.1) for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_the_jitter_is_full() -> None:
    assert Backoff(jitter=lambda: 0.25).next_delay(0) == 0.125


def test_an_attempt_that_lasted_longer_than_the_largest_delay_resets_the_backoff() -> None:
    backoff = Backoff(jitter=lambda: 1.0)
    for _ in range(5):
        backoff.next_delay(29)
    assert backoff.next_delay(31) == 0.5


def test_thousands_of_failures_do_not_overflow() -> None:
    backoff = Backoff(jitter=lambda: 1.0)
    assert [backoff.next_delay(0) for _ in range(5000)][-1] == 30
