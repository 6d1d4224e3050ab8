"""Receives deliveries, runs as many at once as the concurrency allows, settles each one, and logs the result."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from structlog.contextvars import bind_contextvars

from .activity import Activity
from .delivery import Delivery
from .delivery_buffer import DeliveryBuffer
from .ended_tasks import EndedTasks
from .metrics import Metrics
from .run import Run
from .runner import Outcome, Runner, Status

_log = structlog.get_logger("worker")


class Worker:
    """The life of a message from its delivery to its settlement."""

    def __init__(
        self,
        runner: Runner,
        concurrency: int,
        metrics: Metrics,
        state_changed: asyncio.Event,
        on_lost: Callable[[Delivery, Run], None],
    ) -> None:
        """Start with no message.

        Args:
            runner: Runs the handlers.
            concurrency: Number of slots.
            metrics: Where ended tasks are counted.
            state_changed: Set when nothing runs any more and nothing can start.
            on_lost: Called with the delivery and the run of a handler that does not stop.
        """
        self._runner = runner
        self._on_lost = on_lost
        self._state_changed = state_changed
        self._clock = asyncio.get_running_loop().time
        self.activity = Activity(self._clock())
        self._buffer: DeliveryBuffer[Delivery] = DeliveryBuffer(concurrency)
        self._metrics = metrics
        self._ended = EndedTasks[Outcome]()
        self._tasks: set[asyncio.Task[None]] = set()
        metrics.add_gauge("in_flight", lambda: self._buffer.in_flight)
        metrics.add_gauge("prefetched", lambda: self._buffer.prefetched)

    @property
    def in_flight(self) -> int:
        """Number of running tasks, including those that do not stop."""
        return self._buffer.in_flight

    @property
    def prefetched(self) -> int:
        """Number of messages that wait to be started."""
        return self._buffer.prefetched

    def holds(self, matches: Callable[[Delivery], bool]) -> bool:
        """Return whether a matching message waits or runs."""
        return self._buffer.holds(matches)

    def receive(self, delivery: Delivery) -> None:
        """A message was delivered: start it if a slot is free, else let it wait. If its task has ended, settle it."""
        if (outcome := self._ended.take(delivery)) is not None:
            self._spawn(self._settle_again(delivery, outcome))
            return
        self._buffer.add(delivery)
        self._fill_slots()

    def stop_starting(self) -> None:
        """Start no task from now on; running tasks continue."""
        self._buffer.close()

    def resume_starting(self) -> None:
        """Undo `stop_starting`: start waiting messages."""
        self._buffer.reopen()
        self._fill_slots()

    async def requeue(self, matches: Callable[[Delivery], bool]) -> int:
        """Requeue the waiting messages that match; return their number."""
        withdrawn = self._buffer.withdraw(matches)
        await asyncio.gather(*(delivery.requeue() for delivery in withdrawn))
        return len(withdrawn)

    async def wait_until_settled(self) -> None:
        """Wait until every started task is settled."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _fill_slots(self) -> None:
        while (delivery := self._buffer.start_next()) is not None:
            self.activity.begin(delivery, self._clock())
            self._spawn(self._process(delivery))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _process(self, delivery: Delivery) -> None:
        bind_contextvars(task_id=delivery.task_id)
        started_at = time.monotonic()  # uvloop's clock counts whole milliseconds, and stands still between two steps
        outcome = await self._runner.run(delivery)
        seconds = time.monotonic() - started_at
        settled = await self._settle(delivery, outcome)
        self.activity.settle(delivery, self._clock(), done=_is_done(outcome.status))
        if outcome.still_running is None:
            self._release(delivery)
        else:
            # A handler that does not stop keeps its slot, so that never more handlers run than the concurrency allows.
            outcome.still_running.ended.add_done_callback(lambda _: self._release(delivery))
        self._record(delivery, outcome, seconds, settled=settled)
        if outcome.is_lost and outcome.still_running is not None:
            self._on_lost(delivery, outcome.still_running)

    async def _settle(self, delivery: Delivery, outcome: Outcome) -> bool:
        settled = await _settle(delivery, outcome.status)
        if not settled and _is_done(outcome.status) is not None:
            self._ended.remember(delivery, outcome)
        return settled

    async def _settle_again(self, delivery: Delivery, outcome: Outcome) -> None:
        settled = await self._settle(delivery, outcome)
        _log.info("settled at redelivery", task_id=delivery.task_id, status=outcome.status.value, settled=settled)

    def _release(self, delivery: Delivery) -> None:
        self._buffer.release(delivery)
        self.activity.end(delivery, self._clock())
        self._fill_slots()
        if self._buffer.is_quiet:
            self._state_changed.set()

    def _record(self, delivery: Delivery, outcome: Outcome, seconds: float, *, settled: bool) -> None:
        self._metrics.count_task(delivery.queue, delivery.type, outcome.status, seconds)
        fields = {
            "type": delivery.type,
            "routing_key": delivery.message.routing_key,
            "queue": delivery.queue,
            "attempt": delivery.attempt,
            "redelivered": bool(delivery.message.redelivered),
            "duration_ms": round(seconds * 1000, 3),
            "status": outcome.status.value,
            "settled": settled,
        }
        line = {name: value for name, value in fields.items() if value is not None}
        if outcome.failure is None:
            _log.info("task", **line)
        else:
            _log.error("task", **line, exception=outcome.failure.stack)
        if not settled and outcome.status is not Status.ABANDONED:
            self._metrics.ack_failed.inc()
            _log.warning("connection lost before the task was settled, the broker redelivers it")


def _is_done(status: Status) -> bool | None:
    return None if status in {Status.REQUEUED, Status.ABANDONED} else status is Status.DONE


async def _settle(delivery: Delivery, status: Status) -> bool:
    match status:
        case Status.DONE:
            return await delivery.acknowledge()
        case Status.REQUEUED:
            return await delivery.requeue()
        case Status.ABANDONED:
            return False
        case Status.FAILED | Status.TIMEOUT | Status.UNKNOWN_TYPE | Status.INVALID_PAYLOAD:
            return await delivery.dead_letter()
