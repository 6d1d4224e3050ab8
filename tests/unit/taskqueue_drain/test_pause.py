import signal

import pytest

from taskqueue_drain.pause import Pause

DAY_SECONDS = 86_400


@pytest.fixture
def pause() -> Pause:
    return Pause()


def test_a_pause_passes(pause: Pause) -> None:
    pause(0.001)


def test_a_signal_handler_ends_the_pause_and_shortens_all_that_follow(pause: Pause) -> None:
    former = signal.signal(signal.SIGALRM, lambda *_: pause.end())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        for _ in range(3):
            pause(DAY_SECONDS)
    finally:
        signal.signal(signal.SIGALRM, former)
