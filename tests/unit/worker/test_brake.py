"""The brake on consecutive failures."""

import pytest

from taskqueue_drain.consume_settings import CONSUMER_TIMEOUT_MARGIN_SECONDS
from taskqueue_worker.brake import FAILURES, LONGEST_PAUSE_SECONDS, Brake


def braked(prefetch: int = 1, failures: int = FAILURES) -> Brake:
    brake = Brake(prefetch, jitter=lambda: 1.0)
    for _ in range(failures):
        brake.fail(0)
    return brake


def test_starts_are_not_delayed_before_enough_failures() -> None:
    brake = braked(failures=FAILURES - 1)
    assert (brake.is_engaged, brake.remaining_seconds(0)) == (False, 0)
    assert brake.fail(0)
    assert brake.is_engaged


def test_pauses_double_up_to_the_longest() -> None:
    brake, now, pauses = braked(), 0.0, []
    for _ in range(8):
        pauses.append(brake.remaining_seconds(now))
        now += pauses[-1]
        brake.fail(now)
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_a_success_releases_it() -> None:
    brake = braked()
    assert brake.succeed()
    assert not brake.succeed()
    assert brake.remaining_seconds(0) == 0


def test_each_start_delays_the_next_one() -> None:
    brake = braked()
    assert brake.remaining_seconds(0.5) == 0
    brake.start(0.5)
    assert brake.remaining_seconds(0.5) == 0.5


@pytest.mark.parametrize("prefetch", [1, 7, 1000])
def test_all_prefetched_messages_start_within_the_margin_of_the_consumer_timeout(prefetch: int) -> None:
    pause = braked(prefetch, failures=1000).remaining_seconds(0)
    assert prefetch * pause == pytest.approx(LONGEST_PAUSE_SECONDS)
    assert LONGEST_PAUSE_SECONDS < CONSUMER_TIMEOUT_MARGIN_SECONDS
