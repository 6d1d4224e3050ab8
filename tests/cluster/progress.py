"""One line per step, with the time since the first."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

_BEGAN = time.monotonic()


def step(message: str) -> None:
    """Say what was just done or is about to take a while."""
    print(f"[{time.monotonic() - _BEGAN:5.1f} s] {message}", file=sys.stderr, flush=True)


@contextmanager
def working(what: str, *, every: float = 25) -> Iterator[None]:
    """Say what begins, and while inside say every so many seconds that it goes on."""
    step(what)
    ended = Event()

    def go_on() -> None:
        began = time.monotonic()
        while not ended.wait(every):
            step(f"still {what}, since {time.monotonic() - began:.0f} s")

    voice = Thread(target=go_on, daemon=True)
    voice.start()
    try:
        yield
    finally:
        ended.set()
        voice.join()


def until(condition: Callable[[], bool], what: str, *, seconds: float, every: float = 0.05) -> None:
    """Wait for `condition`; raise TimeoutError, naming `what`, when it does not come within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not after {seconds:.0f} s")
        time.sleep(every)
