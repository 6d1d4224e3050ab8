"""Calls to the thread of a connection: in order, and with one wake for each burst."""

from collections.abc import Callable

import pytest

from taskqueue_drain.posted_calls import PostedCalls

Call = Callable[[], object]


def test_a_burst_of_calls_is_made_in_order_at_one_wake() -> None:
    wakes, made = list[Call](), list[int]()
    calls = PostedCalls(wakes.append)
    for number in range(3):
        calls.post(lambda number=number: made.append(number))  # type: ignore[misc]  # mypy infers no lambda with a default
    assert len(wakes) == 1
    wakes.pop()()
    assert made == [0, 1, 2]


def test_a_call_that_is_posted_by_a_call_is_made_at_the_next_wake() -> None:
    wakes, made = list[Call](), list[str]()
    calls = PostedCalls(wakes.append)
    calls.post(lambda: calls.post(lambda: made.append("later")))
    wakes.pop()()
    assert made == []
    wakes.pop()()
    assert made == ["later"]


def test_the_calls_after_one_that_fails_are_made_at_the_next_wake() -> None:
    wakes, made = list[Call](), list[str]()
    calls = PostedCalls(wakes.append)
    calls.post(lambda: 1 / 0)
    calls.post(lambda: made.append("second"))
    with pytest.raises(ZeroDivisionError):
        wakes.pop()()
    calls.post(lambda: made.append("third"))
    wakes.pop()()
    assert made == ["second", "third"]


def test_a_closed_connection_refuses_each_call() -> None:
    def refuse(call: Call) -> None:
        del call
        raise ConnectionError

    calls = PostedCalls(refuse)
    for _ in range(2):
        with pytest.raises(ConnectionError):
            calls.post(lambda: None)
