"""Batches in virtual time: one call for several messages, each of which is a task of its own."""

import asyncio
import contextvars
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from taskqueue_worker import Batch, Call, Context, Proceed, Reject, Requeue, Retry, RetryRule
from taskqueue_worker.delivery import Delivery
from taskqueue_worker.metrics import Metrics
from taskqueue_worker.run_outcome import Outcome, Status
from taskqueue_worker.runner import Runner
from taskqueue_worker.tasks import Registry
from taskqueue_worker.testing import Tasks
from tests.unit.worker.messages import channel_of, delivery, make_worker, runner_of

pytestmark = pytest.mark.looptime

THREE = Batch(size=3, seconds=10)
TIMEOUT_SECONDS = 100


def now() -> float:
    return asyncio.get_running_loop().time()


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
async def runner(registry: Registry) -> Runner:
    return runner_of(registry, timeout_seconds=TIMEOUT_SECONDS)


def message(n: int) -> Delivery:
    return delivery(body=str(n).encode(), message_id=str(n))


async def run(runner: Runner, *numbers: int) -> list[Outcome]:
    return await asyncio.gather(*(runner.run(message(n)) for n in numbers))


def statuses(outcomes: list[Outcome]) -> list[Status]:
    return [outcome.status for outcome in outcomes]


class Calls:
    """The payloads of each call, and when it began."""

    def __init__(self, result: Callable[[list[int]], object] = lambda _: None, seconds: float = 0) -> None:
        self.payloads: list[tuple[float, list[int]]] = []
        self.cancelled = 0
        self._result = result
        self._seconds = seconds

    async def __call__(self, payloads: list[int]) -> object:
        self.payloads.append((now(), sorted(payloads)))
        try:
            await asyncio.sleep(self._seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return self._result(payloads)


async def test_a_full_batch_runs_at_once_and_the_rest_after_its_time(registry: Registry, runner: Runner) -> None:
    calls = Calls(seconds=30)
    registry.task("t", batch=THREE)(calls)
    outcomes = await run(runner, 1, 2, 3, 4, 5)
    assert calls.payloads == [(0, [1, 2, 3]), (10, [4, 5])]
    assert statuses(outcomes) == [Status.DONE] * 5
    assert statuses(await run(runner, 6)) == [Status.DONE]
    assert calls.payloads[2:] == [(50, [6])]


async def test_each_message_has_an_outcome_of_its_own(registry: Registry, runner: Runner) -> None:
    rule = RetryRule(never=(KeyError,))
    entries = [
        None,
        Retry("busy", delay=3),
        Reject("never"),
        Requeue(delay=7),
        KeyError("k"),
        ValueError("v"),
        "result",
    ]
    results: list[object] = []

    async def noting(_: Call, proceed: Proceed) -> object:
        results.append(await proceed())
        return results[-1]

    @registry.task("t", batch=Batch(size=7, seconds=1), retry=rule, around=[noting])
    async def handler(payloads: list[int]) -> list[object]:
        return [entries[n] for n in payloads]

    outcomes = await run(runner, *range(7))
    done, failed = Status.DONE, Status.FAILED
    assert statuses(outcomes) == [done, failed, Status.REJECTED, Status.REQUEUED, failed, failed, done]
    assert [outcome.failure and outcome.failure.delay_seconds for outcome in outcomes[1:4]] == [3, None, 7]
    assert [outcome.rule and outcome.rule.attempts for outcome in outcomes[4:6]] == [1, None]
    assert results == [None, "result"]


async def test_what_the_handler_raises_fails_all_messages(registry: Registry, runner: Runner) -> None:
    def fail(_: object) -> object:
        raise LookupError("the database is away")

    registry.task("t", batch=THREE)(Calls(fail))
    outcomes = await run(runner, 1, 2, 3)
    assert statuses(outcomes) == [Status.FAILED] * 3
    stacks = {outcome.failure.stack for outcome in outcomes if outcome.failure}
    assert len(stacks) == 1, "no stack contains those of other messages"
    assert "the database is away" in stacks.pop()


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), asyncio.CancelledError(), StopIteration()])
@pytest.mark.parametrize("in_thread", [False, True])
async def test_no_exception_of_a_handler_ends_more_than_its_batch(
    registry: Registry,
    runner: Runner,
    error: BaseException,
    in_thread: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    def fail_in_thread(_: list[int]) -> None:
        raise error

    async def fail(_: list[int]) -> None:
        raise error

    registry.task("t", batch=THREE)(fail_in_thread if in_thread else fail)
    assert statuses(await run(runner, 1, 2, 3)) == [Status.FAILED] * 3


@pytest.mark.parametrize("result", [[], [None, None], "done", [Retry, None, None], {1: None}])
async def test_a_result_that_does_not_speak_of_each_message_fails(
    registry: Registry, runner: Runner, result: object
) -> None:
    registry.task("t", batch=THREE)(Calls(lambda _: result))
    outcomes = await run(runner, 1, 2, 3)
    failures = [outcome.failure for outcome in outcomes if outcome.failure is not None]
    assert "The handler of a batch returned" in failures[0].text
    assert len(failures) == (1 if isinstance(result, list) and len(result) == 3 else 3)


async def test_a_coroutine_that_a_def_handler_returns_fails(registry: Registry, runner: Runner) -> None:
    async def work() -> None: ...

    @registry.task("t", batch=THREE)
    def handler(_: list[int]) -> object:
        return work()

    assert statuses(await run(runner, 1, 2, 3)) == [Status.FAILED] * 3


async def test_a_def_handler_runs_in_a_thread_with_the_contexts(registry: Registry, runner: Runner) -> None:
    seen: list[object] = []

    @registry.task("t", batch=THREE)
    def handler(payloads: list[int], contexts: list[Context]) -> None:
        seen.append(dict(zip(payloads, (context.task_id for context in contexts), strict=True)))
        seen.append(threading.current_thread() is threading.main_thread())

    assert statuses(await run(runner, 1, 2, 3)) == [Status.DONE] * 3
    assert seen == [{1: "1", 2: "2", 3: "3"}, False]


async def test_middleware_surrounds_each_message(registry: Registry, runner: Runner) -> None:
    async def duplicate(call: Call, proceed: Proceed) -> object:
        return None if call.payload == 2 else await proceed()

    calls = Calls()
    registry.task("t", batch=THREE, around=[duplicate])(calls)
    assert statuses(await run(runner, 1, 2, 3, 4)) == [Status.DONE] * 4
    assert calls.payloads == [(0, [1, 3, 4])]


async def test_the_handler_sees_no_context_variable_of_one_message(registry: Registry, runner: Runner) -> None:
    number = contextvars.ContextVar[object]("number", default=None)
    seen: list[object] = []

    async def noting(call: Call, proceed: Proceed) -> object:
        number.set(call.payload)
        return await proceed()

    @registry.task("t", batch=THREE, around=[noting])
    async def handler(_: list[int], contexts: list[Context]) -> None:
        seen.append(number.get())
        with pytest.raises(RuntimeError, match="keeps no record"):
            contexts[0].progress(0.5)

    assert statuses(await run(runner, 1, 2, 3)) == [Status.DONE] * 3
    assert seen == [None]


async def test_at_a_timeout_the_call_is_cancelled_once_and_each_message_has_timed_out(
    registry: Registry, runner: Runner
) -> None:
    calls = Calls(seconds=1000)
    registry.task("t", batch=THREE)(calls)
    first = asyncio.ensure_future(runner.run(message(1)))
    await asyncio.sleep(4)
    outcomes = [*await run(runner, 2, 3), await first]
    assert (calls.payloads, calls.cancelled) == ([(4, [1, 2, 3])], 1)
    assert statuses(outcomes) == [Status.TIMEOUT] * 3
    assert now() == TIMEOUT_SECONDS + 4
    assert not any(outcome.still_running for outcome in outcomes)


async def test_a_call_that_ends_well_although_it_was_cancelled_has_done_its_tasks(
    registry: Registry, runner: Runner
) -> None:
    async def stubborn(_: list[int]) -> None:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            await asyncio.sleep(1)

    registry.task("t", batch=THREE)(stubborn)
    asyncio.get_running_loop().call_later(20, runner.cancel_running)
    assert statuses(await run(runner, 1, 2, 3)) == [Status.DONE] * 3


async def test_a_second_sigterm_gives_back_what_runs_and_what_waits(registry: Registry, runner: Runner) -> None:
    calls = Calls(seconds=1000)
    registry.task("t", batch=THREE)(calls)
    asyncio.get_running_loop().call_later(5, runner.cancel_running)
    assert statuses(await run(runner, 1, 2, 3, 4)) == [Status.REQUEUED] * 4
    assert (now(), len(calls.payloads), calls.cancelled) == (5, 1, 1)


async def test_a_message_that_is_cancelled_while_it_waits_leaves_the_batch(registry: Registry, runner: Runner) -> None:
    async def impatient(call: Call, proceed: Proceed) -> object:
        async with asyncio.timeout(2 if call.payload == 1 else 50):
            return await proceed()

    calls = Calls()
    registry.task("t", batch=THREE, around=[impatient])(calls)
    outcomes = await run(runner, 1, 2)
    assert statuses(outcomes) == [Status.FAILED, Status.DONE]
    assert calls.payloads == [(10, [2])]
    assert statuses(await run(runner, 1)) == [Status.FAILED]
    await asyncio.sleep(20)
    assert len(calls.payloads) == 1, "an empty batch does not run"


async def test_a_middleware_that_cancels_a_message_fails_its_batch(registry: Registry, runner: Runner) -> None:
    async def impatient(call: Call, proceed: Proceed) -> object:
        async with asyncio.timeout(2 if call.payload == 1 else 90):
            return await proceed()

    calls = Calls(seconds=1000)
    registry.task("t", batch=THREE, around=[impatient])(calls)
    outcomes = await run(runner, 1, 2, 3)
    assert calls.cancelled == 1
    assert [outcome.failure and outcome.failure.type.rpartition(".")[2] for outcome in outcomes] == [
        "TimeoutError",
        "CutError",
        "CutError",
    ]


async def test_the_holder_of_the_loop_is_a_message_of_the_batch(registry: Registry, runner: Runner) -> None:
    holders: list[Delivery | None] = []

    @registry.task("t", batch=THREE)
    async def handler(_: list[int]) -> None:
        holders.append(runner.holder)

    deliveries = [message(n) for n in range(3)]
    await asyncio.gather(*(runner.run(delivered) for delivered in deliveries))
    assert holders == [deliveries[0]]


class Scene:
    """A worker of concurrency 4 with batches of three."""

    def __init__(self) -> None:
        registry = Registry()
        self.calls = Calls(seconds=1)
        registry.task("t", batch=THREE)(self.calls)
        self.worker = make_worker(runner_of(registry), Metrics("ns/name", "1", ["t"]), asyncio.Event(), concurrency=4)

    def receive(self, *numbers: int, **headers: Any) -> list[Delivery]:  # noqa: ANN401 - of every type
        deliveries = [delivery(body=str(n).encode(), message_id=str(n), headers=headers) for n in numbers]
        for delivered in deliveries:
            self.worker.receive(delivered)
        return deliveries


async def test_each_message_of_a_batch_has_a_slot() -> None:
    scene = Scene()
    deliveries = scene.receive(1, 2, 3, 4, 5)
    await asyncio.sleep(0.5)
    assert (scene.worker.in_flight, scene.worker.prefetched) == (4, 1)
    await scene.worker.wait_until_settled()
    assert scene.calls.payloads == [(0, [1, 2, 3]), (10, [4, 5])]
    assert [channel_of(delivered).settled for delivered in deliveries] == [["ack"]] * 5


async def test_a_batch_that_is_not_full_runs_at_once_when_the_worker_stops() -> None:
    scene = Scene()
    scene.receive(1, 2)
    await asyncio.sleep(2)
    scene.worker.stop_starting()
    await scene.worker.wait_until_settled()
    assert scene.calls.payloads == [(2, [1, 2])]
    scene.worker.resume_starting()
    scene.receive(3, 4)
    await scene.worker.wait_until_settled()
    assert scene.calls.payloads[1:] == [(13, [3, 4])], "after an undrain batches wait again"


async def test_a_suspect_is_a_batch_of_one() -> None:
    scene = Scene()
    suspect = {"x-attempt": 2, "x-suspect": "recorded"}
    scene.receive(1, **suspect)
    scene.receive(2, 3, 4)
    await scene.worker.wait_until_settled()
    assert scene.calls.payloads == [(0, [1]), (1, [2, 3, 4])]


@pytest.mark.parametrize(
    ("size", "seconds"), [(0, 1), (1001, 1), (2.5, 1), (True, 1), (1, 0), (1, float("nan")), (1, "1")]
)
def test_a_batch_that_is_not_valid_is_refused(size: Any, seconds: Any) -> None:  # noqa: ANN401 - of every type
    with pytest.raises(ValueError, match="Batch: "):
        Batch(size=size, seconds=seconds)


@pytest.mark.parametrize("annotation", [list[int], "list[int]", Sequence[int]])
async def test_each_payload_is_validated_before_it_joins(
    registry: Registry, runner: Runner, annotation: object
) -> None:
    seen: list[int] = []

    def handler(payloads: Any) -> None:  # noqa: ANN401 - the annotation is that of the test
        seen.extend(payloads)

    handler.__annotations__["payloads"] = annotation
    registry.task("t", batch=Batch(size=2, seconds=1))(handler)
    invalid = runner.run(delivery(body=b'"one"'))
    outcomes = await asyncio.gather(invalid, runner.run(message(2)), runner.run(message(3)))
    assert statuses([*outcomes]) == [Status.INVALID_PAYLOAD, Status.DONE, Status.DONE]
    assert seen == [2, 3]


@pytest.mark.parametrize("annotation", [int, dict[str, Any], tuple[int, int]])
def test_the_handler_of_a_batch_takes_a_list(registry: Registry, annotation: object) -> None:
    def handler(payloads: Any) -> None: ...  # noqa: ANN401 - likewise

    handler.__annotations__["payloads"] = annotation
    with pytest.raises(TypeError, match=r"takes a list of payloads\. Annotate it with list"):
        registry.task("t", batch=THREE)(handler)


def test_a_batch_does_not_run_in_a_child(registry: Registry) -> None:
    with pytest.raises(ValueError, match="batch needs pool='thread' or 'async'"):

        @registry.task("t", batch=THREE, pool="process")
        def handler(payloads: list[int]) -> None: ...


def test_an_application_tests_the_tasks_of_a_batch_one_by_one(registry: Registry) -> None:
    calls: list[object] = []

    @registry.task("t", batch=Batch(size=3, seconds=600))
    async def handler(payloads: list[int]) -> list[object]:
        calls.append(payloads)
        return [Reject("no") if payload == 2 else None for payload in payloads]

    tasks = Tasks(registry)
    assert [tasks.run("t", n).status for n in (1, 2)] == ["done", "rejected"]
    assert calls == [[1], [2]]
