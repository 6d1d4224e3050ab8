"""Who is told of a dead letter, and what that may do to its message."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from taskqueue_worker.dead_letter_listeners import DeadLetterListeners
from taskqueue_worker.dead_letters import Problem
from taskqueue_worker.delivery import Delivery
from taskqueue_worker.handler_loop import HandlerLoop
from taskqueue_worker.middleware import Call, Proceed
from taskqueue_worker.tasks import Registry
from tests.unit.worker.messages import delivery

PROBLEM = Problem("failed", "LookupError", "no such image")


class Listener:
    def __init__(self, fault: BaseException | None = None) -> None:
        self.told: list[str | None] = []
        self.fault = fault

    async def __call__(self, call: Call, proceed: Proceed) -> object:
        del call
        return await proceed()

    async def dead_lettered(self, delivery: Delivery, problem: Problem) -> None:
        assert problem is PROBLEM
        self.told.append(delivery.task_id)
        if self.fault is not None:
            raise self.fault


@pytest.fixture
async def handlers() -> AsyncIterator[HandlerLoop]:
    handlers = HandlerLoop(asyncio.new_event_loop())
    handlers.start_thread()
    yield handlers
    handlers.close()


def registry_of(*listeners: Listener) -> Registry:
    """Return the handlers of the versions 2 and 3 of a task, which share their middleware."""
    registry = Registry()
    for version in (2, 3):
        registry.task("t", version=version, around=listeners)(lambda _: None)
    return registry


@pytest.mark.parametrize("version", [2, 3, 9, "no version"])
async def test_the_listeners_of_a_task_are_told_once_whatever_its_version(
    handlers: HandlerLoop, version: object
) -> None:
    listener = Listener()
    told = DeadLetterListeners(registry_of(listener), handlers)
    await told.tell(delivery(headers={"x-version": version}), PROBLEM)
    assert listener.told == ["id"]


@pytest.mark.parametrize("fault", [ValueError("away"), asyncio.CancelledError()])
async def test_a_listener_that_fails_or_is_cancelled_keeps_nothing_from_the_message(
    handlers: HandlerLoop, fault: BaseException
) -> None:
    failing, other = Listener(fault), Listener()
    with capture_logs() as logs:
        await DeadLetterListeners(registry_of(failing, other), handlers).tell(delivery(), PROBLEM)
    assert other.told == ["id"]
    assert [line["event"] for line in logs] == ["dead letter not told"]
