"""Publishes a task to a broker in memory, and lets a real worker run it until its message has left the queue."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from aio_pika import Message

from taskqueue_drain.dead_letter_target import DeadLetterTarget
from taskqueue_worker.brake import Brake
from taskqueue_worker.bridge import Inbox
from taskqueue_worker.dead_letter_listeners import DeadLetterListeners
from taskqueue_worker.delivery import Delivery
from taskqueue_worker.handler_loop import HandlerLoop
from taskqueue_worker.lifespan import Lifespan
from taskqueue_worker.metrics import Metrics
from taskqueue_worker.payload import JSON, encode
from taskqueue_worker.publishing.task_publisher import TaskPublisher
from taskqueue_worker.retries import Retries
from taskqueue_worker.retry_policy import RetryPolicy
from taskqueue_worker.run_outcome import Outcome
from taskqueue_worker.runner import Runner
from taskqueue_worker.settlement import Settlement
from taskqueue_worker.tasks import Registry, registry
from taskqueue_worker.worker import Worker

from .memory_broker import QUEUE, MemoryBroker
from .task_run import TaskRun

MOST_RUNS: Final = 100
"""A task that still returns after so many runs returns without end."""


class EndlessTaskError(Exception):
    """A task was requeued again and again."""

    def __init__(self, type: str) -> None:  # noqa: A002 - the AMQP name
        super().__init__(f"Task {type!r} returned to its queue {MOST_RUNS} times. What it waits for never happens.")


class LifespanFailedError(Exception):
    """The lifespan of the application did not begin. The text has its stack."""


class Tasks:
    """Runs tasks as a worker does: lifespan, decoding, validation, middleware, outcomes, retries, dead letters.

    Attributes:
        max_attempts: As `spec.retry.maxAttempts`.
        initial_seconds: As `spec.retry.backoff.initialSeconds`. Delays do not pass.
        timeout_seconds: As `spec.worker.taskTimeoutSeconds`.
    """

    def __init__(self, tasks: Registry = registry) -> None:
        """Run these tasks; by default, all that are declared by `@task`."""
        self._registry = tasks
        self.max_attempts = 5
        self.initial_seconds = 1
        self.timeout_seconds = 30.0

    def run(
        self,
        type: str,  # noqa: A002 - the AMQP name
        payload: object,
        *,
        headers: Mapping[str, Any] | None = None,
        message_id: str = "test-1",
    ) -> TaskRun:
        """Publish a task, run all its attempts, and return what happened. For tests that are `def`.

        `bytes` are sent unchanged and as JSON, so that a test can send what is not valid.

        Raises:
            EndlessTaskError: The task is requeued without end.
            LifespanFailedError: The lifespan of the application does not begin.
        """
        body = payload if isinstance(payload, bytes) else encode(payload)
        message = Message(body, type=type, message_id=message_id, content_type=JSON, headers=dict(headers or {}))
        return asyncio.run(self._run(type, message))

    async def _run(self, type: str, message: Message) -> TaskRun:  # noqa: A002 - the AMQP name
        broker, statuses = MemoryBroker(), list[str]()
        handlers = HandlerLoop(asyncio.get_running_loop())
        worker = self._worker(broker, handlers, statuses)
        lifespan = Lifespan(self._registry, handlers)
        if (failure := await lifespan.begin()) is not None:
            raise LifespanFailedError(failure.stack)
        await broker.send(message, "", QUEUE)
        while (delivery := broker.take()) is not None:
            if len(statuses) == MOST_RUNS:
                raise EndlessTaskError(type)
            worker.receive(delivery)
            await worker.wait_until_settled()
        await lifespan.end()
        return TaskRun(tuple(statuses), tuple(broker.delays), broker.dead_letter, tuple(broker.published))

    def _worker(self, broker: MemoryBroker, handlers: HandlerLoop, statuses: list[str]) -> Worker:
        inbox, state_changed = Inbox(asyncio.get_running_loop()), asyncio.Event()
        metrics = Metrics("tests/tasks", "", ())
        policy = RetryPolicy(self.max_attempts, self.initial_seconds, 3600)
        settlement = _Recorded(broker.send, DeadLetterTarget(), metrics, state_changed, Retries(policy, broker.delay))
        settlement.statuses = statuses
        settlement.tell = DeadLetterListeners(self._registry, handlers).tell
        tasks = TaskPublisher(broker)
        runner = Runner(self._registry, handlers, inbox, tasks, timeout_seconds=self.timeout_seconds, threads=1)
        runner.let_batches_wait(may_wait=False)
        return Worker(
            runner,
            settlement,
            Brake(prefetch=1, jitter=lambda: 0.0),
            metrics,
            state_changed=state_changed,
            on_lost=lambda *_: None,
            until_quiet=lambda: asyncio.sleep(0),
            concurrency=1,
            max_attempts=self.max_attempts,
        )


class _Recorded(Settlement):
    """Remembers how each run ended."""

    statuses: list[str]

    async def settle(  # type: ignore[explicit-override]
        self, delivery: Delivery, outcome: Outcome, *, is_last: bool = True, waited_seconds: float = 0
    ) -> bool:
        self.statuses.append(outcome.status.value)
        return await super().settle(delivery, outcome, is_last=is_last, waited_seconds=waited_seconds)
