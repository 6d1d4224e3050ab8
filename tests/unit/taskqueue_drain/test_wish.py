"""What the protocol wishes of a consumer, asked for on two threads and by a signal handler."""

import sys
import threading
from types import FrameType
from typing import Any

from taskqueue_drain.wish import Wish


def test_each_wish_has_another_number() -> None:
    wish = Wish()
    wish.ask(may_consume=False)
    wish.ask(may_consume=False)
    assert wish.current == (2, False)
    wish.ask(may_consume=True)
    assert wish.current == (3, True)


def test_a_worker_that_ends_never_consumes_again() -> None:
    wish = Wish()
    wish.end()
    wish.ask(may_consume=True)
    assert not wish.may_consume


def test_a_signal_handler_may_end_what_its_thread_asks_for_at_that_moment() -> None:
    wish = Wish()
    has_asked = threading.Event()

    def interrupt(frame: FrameType, event: str, _: object) -> Any:  # noqa: ANN401 - a trace function returns itself
        if event == "line" and frame.f_code is Wish.ask.__code__ and not wish._is_final:
            wish.end()
        return interrupt

    def ask() -> None:
        sys.settrace(interrupt)
        wish.ask(may_consume=True)
        sys.settrace(None)
        has_asked.set()

    threading.Thread(target=ask, daemon=True).start()
    assert has_asked.wait(timeout=10)
    assert not wish.may_consume
