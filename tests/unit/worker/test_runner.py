"""How a task ends, in virtual time."""

import asyncio
from contextlib import suppress

import pytest

from taskqueue_worker.run_outcome import Status
from taskqueue_worker.runner import Runner
from taskqueue_worker.tasks import Context, Registry
from tests.approved import assert_approved
from tests.unit.worker.messages import delivery, runner_of

pytestmark = pytest.mark.looptime


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
async def runner(registry: Registry) -> Runner:
    return runner_of(registry, timeout_seconds=100)


async def test_a_task_is_done_when_its_handler_returns(registry: Registry, runner: Runner) -> None:
    seen = []

    @registry.task("t")
    async def handler(payload: dict[str, int], context: Context) -> None:
        seen.append((payload, context.task_id, context.type, context.routing_key))

    assert (await runner.run(delivery(body=b'{"n": 1}'))).status is Status.DONE
    assert seen == [({"n": 1}, "id", "t", "by.key")]


@pytest.mark.parametrize("error", [ValueError("x"), asyncio.CancelledError(), KeyError("k"), SystemExit(1)])
async def test_an_exception_of_a_handler_fails_only_its_task(
    registry: Registry, runner: Runner, error: BaseException
) -> None:
    @registry.task("t")
    async def handler(_: object) -> None:
        raise error

    outcome = await runner.run(delivery())
    assert outcome.status is Status.FAILED
    assert outcome.failure is not None
    assert outcome.still_running is None


async def test_a_task_is_cancelled_at_its_timeout(registry: Registry, runner: Runner) -> None:
    @registry.task("t")
    async def handler(_: object) -> None:
        await asyncio.sleep(1000)

    outcome = await runner.run(delivery())
    assert (outcome.status, outcome.still_running) == (Status.TIMEOUT, None)
    assert asyncio.get_running_loop().time() == 100


async def test_a_handler_that_ignores_its_cancellation_still_runs_after_the_grace(
    registry: Registry, runner: Runner
) -> None:
    @registry.task("t")
    async def handler(_: object) -> None:
        for _ in range(2):
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(200)

    outcome = await runner.run(delivery())
    assert asyncio.get_running_loop().time() == 105
    assert outcome.status is Status.TIMEOUT
    assert outcome.still_running is not None
    await outcome.still_running.ended
    assert asyncio.get_running_loop().time() == 300


async def test_a_cancelled_task_that_stops_is_requeued(registry: Registry, runner: Runner) -> None:
    @registry.task("t")
    async def handler(_: object) -> None:
        await asyncio.sleep(1000)

    asyncio.get_running_loop().call_later(7, runner.cancel_running)
    assert (await runner.run(delivery())).status is Status.REQUEUED
    assert asyncio.get_running_loop().time() == 7


async def test_a_cancelled_task_that_finishes_is_done(registry: Registry, runner: Runner) -> None:
    @registry.task("t")
    async def handler(_: object) -> None:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            await asyncio.sleep(1)

    asyncio.get_running_loop().call_later(7, runner.cancel_running)
    assert (await runner.run(delivery())).status is Status.DONE


async def test_a_cancelled_task_that_does_not_stop_is_abandoned(registry: Registry, runner: Runner) -> None:
    @registry.task("t")
    async def handler(_: object) -> None:
        while True:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
                return

    asyncio.get_running_loop().call_later(7, runner.cancel_running)
    outcome = await runner.run(delivery())
    assert outcome.status is Status.ABANDONED
    assert outcome.still_running is not None
    await outcome.still_running.ended


async def test_the_error_of_an_unknown_type_names_the_known_ones(registry: Registry, runner: Runner) -> None:
    @registry.task("image.resize")
    async def handler(_: object) -> None: ...

    outcome = await runner.run(delivery("image.resise"))
    assert outcome.status is Status.UNKNOWN_TYPE
    assert outcome.failure is not None
    assert_approved("worker.unknown_type", outcome.failure.text)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"NaN"])
async def test_a_body_that_is_not_json_is_an_invalid_payload(registry: Registry, runner: Runner, body: bytes) -> None:
    @registry.task("t")
    async def handler(_: object) -> None: ...

    assert (await runner.run(delivery(body=body))).status is Status.INVALID_PAYLOAD
