"""When a breaker lets calls through. Time is an argument."""

import pytest

from taskqueue_worker.breaker.circuit import Circuit, State


class Calls:
    """A circuit of 3 failures within 60 s, open for 30 s."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.circuit = Circuit(failures=3, within=60, open_seconds=30)

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def begin(self) -> int:
        permit = self.circuit.admit(self.now)
        assert permit is not None
        return permit

    def is_refused(self) -> bool:
        return self.circuit.admit(self.now) is None

    def fail(self, times: int = 1) -> None:
        for _ in range(times):
            self.circuit.fail(self.begin(), self.now)

    def succeed(self) -> None:
        self.circuit.succeed(self.begin())

    def state(self) -> State:
        return self.circuit.state(self.now)

    def is_unavailable(self) -> bool:
        return self.circuit.is_unavailable(self.now)


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def opened(calls: Calls) -> Calls:
    calls.fail(3)
    assert calls.state() is State.OPEN
    return calls


def test_it_opens_after_failures_in_a_row(calls: Calls) -> None:
    calls.fail(2)
    calls.succeed()
    calls.fail(2)
    assert calls.state() is State.CLOSED
    assert calls.circuit.fail(calls.begin(), calls.now)
    assert calls.state() is State.OPEN
    assert calls.is_refused()


def test_failures_that_lie_far_apart_do_not_open_it(calls: Calls) -> None:
    for _ in range(10):
        calls.fail()
        calls.wait(31)
    assert calls.state() is State.CLOSED
    calls.fail(2)
    assert calls.state() is State.OPEN, "the last three lie within a minute"


def test_an_end_without_a_result_neither_opens_it_nor_interrupts_a_row(calls: Calls) -> None:
    calls.fail(2)
    calls.circuit.end_without_result(calls.begin(), calls.now)
    assert calls.state() is State.CLOSED
    calls.fail()
    assert calls.state() is State.OPEN


def test_while_open_it_says_for_how_long(opened: Calls) -> None:
    opened.wait(10)
    assert opened.is_refused()
    assert opened.circuit.refused_seconds(opened.now) == 20
    opened.wait(20)
    assert (opened.state(), opened.circuit.refused_seconds(opened.now)) == (State.HALF_OPEN, 0)


def test_a_trial_that_succeeds_closes_it(opened: Calls) -> None:
    opened.wait(30)
    trial = opened.begin()
    assert opened.is_refused(), "one trial at a time"
    assert opened.circuit.succeed(trial)
    assert opened.state() is State.CLOSED
    opened.fail(2)
    assert opened.state() is State.CLOSED, "failures before do not count any more"


def test_a_trial_that_fails_keeps_it_open(opened: Calls) -> None:
    opened.wait(30)
    trial = opened.begin()
    opened.wait(5)
    assert not opened.circuit.fail(trial, opened.now)
    opened.wait(29)
    assert opened.is_refused()
    opened.wait(1)
    opened.succeed()
    assert opened.state() is State.CLOSED


def test_after_a_trial_without_a_result_the_next_call_is_one(opened: Calls) -> None:
    opened.wait(30)
    opened.circuit.end_without_result(opened.begin(), opened.now)
    assert opened.state() is State.HALF_OPEN
    opened.succeed()
    assert opened.state() is State.CLOSED


def test_a_trial_that_does_not_end_is_not_the_last_one(opened: Calls) -> None:
    opened.wait(30)
    hangs = opened.begin()
    opened.wait(30)
    opened.succeed()
    assert opened.state() is State.CLOSED
    assert not opened.circuit.fail(hangs, opened.now), "it began before the breaker closed"


def test_calls_that_began_before_it_opened_do_not_count(calls: Calls) -> None:
    late = [calls.begin() for _ in range(3)]
    calls.fail(3)
    calls.wait(20)
    assert not calls.circuit.succeed(late[0])
    assert not calls.circuit.fail(late[1], calls.now)
    calls.circuit.end_without_result(late[2], calls.now)
    assert (calls.state(), calls.circuit.refused_seconds(calls.now)) == (State.OPEN, 10)


def test_the_dependency_is_unavailable_until_a_trial_was_due_for_as_long_again(opened: Calls) -> None:
    """Without a message of its type, nothing tries: what is not known must not limit the scaling of other types."""
    opened.wait(59)
    assert opened.is_unavailable()
    opened.wait(1)
    assert not opened.is_unavailable()
    assert opened.state() is State.HALF_OPEN
    opened.fail()
    assert opened.is_unavailable()
