"""A breaker around handlers, and around parts of them. Time is what the test says."""

import asyncio
import pickle
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from structlog.testing import capture_logs

from taskqueue_worker.breaker import Breaker, BreakerOpenError
from taskqueue_worker.breaker.circuit import State
from taskqueue_worker.breaker.registry import Breakers
from taskqueue_worker.middleware import Call, Proceed, Refusals, Refusing
from taskqueue_worker.outcomes import Requeue
from taskqueue_worker.tasks import Registry
from tests.approved import assert_approved
from tests.unit.worker.messages import delivery, runner_of

Use = Callable[[Breaker, BaseException | None], Awaitable[None]]


class Clock:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry() -> Breakers:
    return Breakers()


@pytest.fixture
def payments(clock: Clock, registry: Breakers) -> Breaker:
    return Breaker("payments", failures=2, open_seconds=30, registry=registry, clock=clock)


def end_with(error: BaseException | None) -> None:
    if error is not None:
        raise error


async def on_loop(breaker: Breaker, error: BaseException | None) -> None:
    async with breaker:
        await asyncio.sleep(0)
        end_with(error)


async def in_thread(breaker: Breaker, error: BaseException | None) -> None:
    def call() -> None:
        with breaker:
            end_with(error)

    await asyncio.to_thread(call)


def open_it(breaker: Breaker) -> None:
    for _ in range(2):
        with suppress(ConnectionError), breaker:
            raise ConnectionError


@pytest.mark.parametrize("use", [on_loop, in_thread])
async def test_it_opens_refuses_tries_and_closes(use: Use, payments: Breaker, clock: Clock) -> None:
    for _ in range(2):
        with pytest.raises(ConnectionResetError):
            await use(payments, ConnectionResetError())
    clock.now += 10
    with pytest.raises(BreakerOpenError) as refused:
        await use(payments, None)
    assert 20 <= refused.value.delay < 50
    clock.now += 20
    with pytest.raises(TimeoutError):
        await use(payments, TimeoutError())
    with pytest.raises(BreakerOpenError):
        await use(payments, None)
    clock.now += 30
    await use(payments, None)
    await use(payments, None)
    assert payments.get_state() is State.CLOSED


@pytest.mark.parametrize("error", [LookupError(), asyncio.CancelledError(), Requeue(), KeyboardInterrupt()])
def test_other_exceptions_say_nothing(payments: Breaker, error: BaseException) -> None:
    for _ in range(5):
        with suppress(BaseException), payments:
            raise error
    assert payments.get_state() is State.CLOSED


def test_a_breaker_inside_itself_is_one_call(payments: Breaker, clock: Clock) -> None:
    open_it(payments)
    clock.now += 30
    with payments, payments:
        assert payments.refused_seconds == 30
    assert payments.get_state() is State.CLOSED


async def test_calls_at_the_same_time_are_calls_of_their_own(payments: Breaker, clock: Clock) -> None:
    open_it(payments)
    clock.now += 30
    ends = await asyncio.gather(*(on_loop(payments, None) for _ in range(3)), return_exceptions=True)
    assert sorted(type(end).__name__ for end in ends) == ["BreakerOpenError", "BreakerOpenError", "NoneType"]


def test_threads_get_one_trial(payments: Breaker, clock: Clock) -> None:
    open_it(payments)
    clock.now += 30
    admitted, all_tried = [], threading.Barrier(8)

    def call() -> None:
        with suppress(BreakerOpenError), payments:
            admitted.append(1)
            all_tried.wait(10)
            return
        all_tried.wait(10)

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert admitted == [1]


async def test_around_a_handler_it_gives_messages_back_without_a_call(payments: Breaker) -> None:
    registry, runs = Registry(), []

    async def fails(call: Call, proceed: Proceed) -> object:
        """A middleware that the breaker surrounds too."""
        await proceed()
        raise ConnectionError(call.task.type)

    @registry.task("charge", breaker=payments, around=[fails])
    def charge(payload: object) -> None:
        runs.append(payload)

    runner = runner_of(registry)
    statuses = [(await runner.run(delivery("charge"))).status.value for _ in range(4)]
    assert (statuses, len(runs)) == (["failed", "failed", "requeued", "requeued"], 2)
    outcome = await runner.run(delivery("charge"))
    assert outcome.failure is not None
    assert outcome.failure.delay_seconds is not None
    assert outcome.failure.delay_seconds > 29


def test_each_change_is_a_log_line_and_is_announced(payments: Breaker, clock: Clock, registry: Breakers) -> None:
    changes: list[tuple[str, ...]] = []
    registry.on_change = lambda: changes.append(registry.unavailable())
    with capture_logs() as lines:
        open_it(payments)
        clock.now += 30
        with payments:
            pass
    assert [(line["event"], line["breaker"], line["log_level"]) for line in lines] == [
        ("breaker open", "payments", "warning"),
        ("breaker half open", "payments", "info"),
        ("breaker closed", "payments", "info"),
    ]
    assert changes == [("payments",), ()]


def test_the_unavailable_dependencies_are_sorted(registry: Breakers, clock: Clock) -> None:
    for name in ("b", "c", "a"):
        breaker = Breaker(name, failures=2, registry=registry, clock=clock)
        if name != "c":
            open_it(breaker)
    assert registry.unavailable() == ("a", "b")


def test_a_refusal_crosses_processes() -> None:
    refusal = pickle.loads(pickle.dumps(BreakerOpenError("The breaker is open.", delay=12)))  # noqa: S301 - our own
    assert (str(refusal), refusal.delay) == ("The breaker is open.", 12)


@pytest.mark.parametrize(
    ("key", "arguments"),
    [
        ("breaker.name", {"name": "two words"}),
        ("breaker.long_name", {"name": "x" * 64}),
        ("breaker.failures", {"failures": 0}),
        ("breaker.failures_type", {"failures": True}),
        ("breaker.within", {"within": float("nan")}),
        ("breaker.open_seconds", {"open_seconds": 7200}),
        ("breaker.errors", {"errors": ConnectionError}),
        ("breaker.no_errors", {"errors": ()}),
        ("breaker.error_instance", {"errors": (ConnectionError(),)}),
    ],
)
def test_a_breaker_that_cannot_work_is_refused(key: str, arguments: dict[str, Any], registry: Breakers) -> None:
    valid: dict[str, Any] = {"name": "payments", "registry": registry}
    with pytest.raises(ValueError, match="Breaker") as refused:
        Breaker(**valid | arguments)
    assert_approved(key, str(refused.value))
    assert list(registry) == []


def test_two_breakers_of_one_name_are_refused(payments: Breaker, registry: Breakers) -> None:
    with pytest.raises(ValueError, match="two breakers") as refused:
        Breaker("payments", registry=registry)
    assert_approved("breaker.twice", str(refused.value))
    assert list(registry) == [payments]


def test_a_worker_is_held_while_each_handler_is(registry: Breakers, clock: Clock) -> None:
    one, other = (Breaker(name, failures=2, registry=registry, clock=clock) for name in ("one", "other"))
    assert isinstance(one, Refusing)
    tasks, mixed = Registry(), Registry()
    for declared, name, around in [(tasks, "a", [one]), (tasks, "b", [other]), (mixed, "a", [one]), (mixed, "b", [])]:
        declared.task(name, around=around)(lambda _: None)
    open_it(one)
    clock.now += 10
    assert Refusals(tasks).refused_seconds == 0
    open_it(other)
    assert Refusals(tasks).refused_seconds == 20
    assert Refusals(mixed).refused_seconds == 0
    assert Refusals(Registry()).refused_seconds == 0
