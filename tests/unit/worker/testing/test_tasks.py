"""A test of an application runs its tasks as a worker does."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from taskqueue_worker import Call, Context, Proceed, Reject, Requeue, Retry
from taskqueue_worker.dead_letters import Problem
from taskqueue_worker.delivery import Delivery
from taskqueue_worker.tasks import Registry
from taskqueue_worker.testing import EndlessTaskError, LifespanFailedError, Tasks
from tests.integration.worker.guide import write_example

ROOT = Path(__file__).parents[4]

Runs = Callable[[Callable[[int], object]], Tasks]


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def attempts(registry: Registry) -> Runs:
    """Declares task `t`: attempt n has the outcome that a function of n has."""

    def declare(outcome: Callable[[int], object]) -> Tasks:
        seen: list[int] = []

        @registry.task("t")
        async def run(_: object) -> None:
            seen.append(1)
            result = outcome(len(seen))
            if isinstance(result, Exception):
                raise result

        return Tasks(registry)

    return declare


def test_a_task_that_returns_is_done(registry: Registry) -> None:
    seen: list[tuple[object, str | None, int, object]] = []

    @registry.task("resize")
    def resize(payload: dict[str, Any], context: Context) -> None:
        seen.append((payload, context.task_id, context.attempt, context.headers["tenant"]))

    run = Tasks(registry).run("resize", {"image": "a.png"}, headers={"tenant": "acme"}, message_id="7")
    assert (run.status, run.is_done, run.delays, run.dead_letter) == ("done", True, (), None)
    assert seen == [({"image": "a.png"}, "7", 1, "acme")]


def test_a_task_that_always_fails_is_retried_and_then_dead_lettered(attempts: Runs) -> None:
    tasks = attempts(lambda _: LookupError("no such image"))
    tasks.max_attempts = 3
    run = tasks.run("t", {})
    assert run.statuses == ("failed", "failed", "failed")
    assert len(run.delays) == 2
    assert max(run.delays) <= 2
    assert not run.is_done
    assert run.dead_letter is not None
    assert (run.dead_letter.reason, run.dead_letter.error) == ("failed", "no such image")
    assert run.dead_letter.headers["x-attempt"] == 3


def test_delays_that_a_task_asks_for_do_not_pass(attempts: Runs) -> None:
    run = attempts(lambda n: (Retry("busy", delay=3600), Requeue("busy", delay=30), None)[n - 1]).run("t", {})
    assert run.statuses == ("failed", "requeued", "done")
    assert run.delays == (3600, 30)


def test_a_rejected_task_is_dead_lettered_at_once(attempts: Runs) -> None:
    run = attempts(lambda _: Reject("no recipient")).run("t", {})
    assert run.statuses == ("rejected",)
    assert run.dead_letter is not None
    assert (run.dead_letter.reason, run.dead_letter.error) == ("rejected", "no recipient")


def test_a_task_that_is_requeued_without_end_ends_the_test(attempts: Runs) -> None:
    with pytest.raises(EndlessTaskError):
        attempts(lambda _: Requeue()).run("t", {})


def test_what_is_not_valid_is_dead_lettered(attempts: Runs) -> None:
    tasks = attempts(lambda _: None)
    for type_, body, reason in (("t", b"{", "invalid_payload"), ("other", b"{}", "unknown_type")):
        run = tasks.run(type_, body)
        assert run.dead_letter is not None
        assert (run.status, run.dead_letter.reason, run.dead_letter.body) == (reason, reason, body)


def test_a_task_that_is_too_slow_has_its_timeout(registry: Registry) -> None:
    @registry.task("slower")
    async def slower(_: object) -> None:
        await asyncio.sleep(60)

    tasks = Tasks(registry)
    tasks.timeout_seconds, tasks.max_attempts = 0.01, 1
    assert tasks.run("slower", {}).status == "timeout"


def test_middleware_surrounds_the_task(registry: Registry) -> None:
    seen: list[str] = []

    async def around(call: Call, proceed: Proceed) -> object:
        seen.append(call.task.type)
        return await proceed()

    @registry.task("t", around=[around])
    def run(_: object) -> None:
        seen.append("handler")

    assert Tasks(registry).run("t", {}).is_done
    assert seen == ["t", "handler"]


@pytest.mark.slow
def test_the_plugin_has_the_fixture_and_the_example_of_the_guide_passes(tmp_path: Path) -> None:
    name = write_example("Testing", tmp_path)
    plugin = ("-p", "taskqueue_worker.testing.plugin", "-p", "no:cacheprovider")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugin, f"{name}.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{ROOT}/worker-image/src"},
        capture_output=True,
        check=False,
        text=True,
    )
    assert run.returncode == 0, run.stdout
    assert "2 passed" in run.stdout


def test_a_task_sees_the_lifespan_and_what_it_publishes_is_seen(registry: Registry) -> None:
    ended: list[bool] = []

    @registry.lifespan
    async def database() -> AsyncIterator[str]:
        yield "pool"
        ended.append(True)

    @registry.task("order.pay")
    async def pay(payload: dict[str, Any], context: Context) -> None:
        await context.publish("orders", "ship", payload | {"state": context.state}, type="order.ship")

    run = Tasks(registry).run("order.pay", {"order": 7})
    assert run.is_done
    (published,) = run.published
    assert (published.exchange, published.routing_key, published.payload) == (
        "orders",
        "ship",
        {"order": 7, "state": "pool"},
    )
    assert (published.options["type"], published.options["correlation_id"]) == ("order.ship", "test-1")
    assert ended == [True]


def test_a_lifespan_that_fails_fails_the_test(registry: Registry) -> None:
    @registry.lifespan
    async def database() -> AsyncIterator[None]:
        if registry.lifespan_function is not None:
            raise ConnectionRefusedError("no database")
        yield

    @registry.task("t")
    async def run(_: object) -> None: ...

    with pytest.raises(LifespanFailedError, match="no database"):
        Tasks(registry).run("t", {})


class Listener:
    """Middleware that wants to know of dead letters, as `Results` does."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    async def __call__(self, call: Call, proceed: Proceed) -> object:
        del call
        return await proceed()

    async def dead_lettered(self, delivery: Delivery, problem: Problem) -> None:
        del delivery
        self.reasons.append(problem.reason)


def test_middleware_learns_of_a_dead_letter(registry: Registry) -> None:
    listener = Listener()

    @registry.task("t", around=[listener])
    def handler(payload: object) -> None:
        raise Reject(f"no {payload}")

    Tasks(registry).run("t", 1)
    assert listener.reasons == ["rejected"]
