"""How long to wait."""

from taskqueue_worker.backoff import Backoff


def test_waits_double_from_half_a_second_to_half_a_minute() -> None:
    backoff = Backoff(jitter=lambda: 1.0)
    assert [backoff.after(0.1) for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_the_jitter_is_full() -> None:
    assert Backoff(jitter=lambda: 0.25).after(0) == 0.125


def test_what_stood_longer_than_the_cap_starts_anew() -> None:
    backoff = Backoff(jitter=lambda: 1.0)
    for _ in range(5):
        backoff.after(29)
    assert backoff.after(31) == 0.5


def test_years_of_failures_overflow_nothing() -> None:
    backoff = Backoff(jitter=lambda: 1.0)
    assert [backoff.after(0) for _ in range(5000)][-1] == 30
