"""Receives deliveries, runs as many at once as the concurrency allows, settles each one, and logs the result."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from operator import attrgetter
from typing import Any

import structlog

from taskqueue_drain import Figures
from taskqueue_drain.activity import Activity

from .attempts import AttemptState
from .bounds import COUNTED_RETURNS
from .brake import Brake
from .delivery import Delivery
from .delivery_buffer import DeliveryBuffer
from .end_record import record_end
from .ended_tasks import EndedTasks
from .failure import Failure
from .log import CURRENT_TASK
from .metrics import Metrics
from .queue_wait import queue_wait
from .run import Run
from .run_outcome import Outcome, Status
from .runner import Runner
from .settlement import Settlement
from .start_delay import StartDelay
from .suspects import Suspects, runs_alone

_log = structlog.get_logger("worker")


class WorkerLostError(Exception):
    """The worker was lost while it ran a task, in every attempt."""

    def __init__(self, attempts: int) -> None:
        super().__init__(
            f"The process of the worker ended in each of {attempts} attempts while it ran this task, for example for "
            "lack of memory. Look at the last state of the container, and raise its limit or correct the handler."
        )


class Worker:
    """The life of a message from its delivery to its settlement.

    Attributes:
        has_free_slot: Set while a further message could run.
        exclusive: Set while a suspect holds the worker: no queue should be consumed.
    """

    def __init__(  # noqa: PLR0913 - the parts of a worker
        self,
        runner: Runner,
        settlement: Settlement,
        brake: Brake,
        metrics: Metrics,
        *,
        state_changed: asyncio.Event,
        on_lost: Callable[[Delivery, Run], None],
        until_quiet: Callable[[], Awaitable[object]],
        concurrency: int,
        max_attempts: int,
    ) -> None:
        """Start with no message.

        Args:
            runner: Runs the handlers.
            settlement: Dead-letters messages and records attempts.
            brake: Delays starts after failures.
            metrics: Where ended tasks are counted.
            state_changed: Set when nothing runs any more and nothing can start.
            on_lost: Called with the delivery and the run of a handler that does not stop.
            until_quiet: Waits, once `exclusive` is set, until no further message can arrive.
            concurrency: Number of slots.
            max_attempts: Attempts of a task that ends its worker.
        """
        self._runner = runner
        self._settlement = settlement
        self._max_attempts = max_attempts
        self._on_lost = on_lost
        self._until_quiet = until_quiet
        self._state_changed = state_changed
        self._loop = asyncio.get_running_loop()
        self._clock = self._loop.time
        self.activity = Activity(self._clock())
        self._buffer: DeliveryBuffer[Delivery] = DeliveryBuffer(
            concurrency, runs_alone=runs_alone, queue_of=attrgetter("queue")
        )
        self._suspects = Suspects(settlement, self._buffer)
        self._delay = StartDelay(
            brake, lambda: runner.refused_seconds, self._longest_wait_seconds, start=self._fill_slots
        )
        self._metrics = metrics
        self._ended = EndedTasks[Outcome]()
        self._tasks: set[asyncio.Task[None]] = set()
        self.has_free_slot = asyncio.Event()
        self.has_free_slot.set()
        self.exclusive = asyncio.Event()
        self._batches_may_wait = True
        self._last_start = self._clock()
        metrics.add_gauge("in_flight", lambda: self._buffer.in_flight)
        metrics.add_gauge("prefetched", lambda: self._buffer.prefetched)
        metrics.add_gauge("braked", lambda: brake.is_engaged)

    @property
    def in_flight(self) -> int:
        """Number of running tasks, including those that do not stop."""
        return self._buffer.in_flight

    @property
    def prefetched(self) -> int:
        """Number of messages that wait to be started."""
        return self._buffer.prefetched

    def figures(self) -> Figures:
        """Count what runs and what waits."""
        return self.activity.figures(
            self._clock(),
            in_flight=self.in_flight,
            prefetched=self.prefetched,
            dead_letters_blocked=self._settlement.blocked,
        )

    @property
    def longest_wait_seconds(self) -> float:
        """How long the message that waits longest for a slot has waited; 0 if none waits, or every handler refuses."""
        if self._runner.refused_seconds:
            return 0.0
        return self._longest_wait_seconds()

    def _longest_wait_seconds(self) -> float:
        now = time.monotonic()
        return max((now - first.received_at for first in self._buffer.first_waiting), default=0.0)

    def is_full_for(self, seconds: float) -> bool:
        """Return whether the same tasks have held all slots for so long, and all that wait may be returned."""
        if not self._buffer.is_full or self._buffer.waiting(_was_returned_often):
            return False
        return self._clock() - self._last_start >= seconds

    def totals(self) -> tuple[float, int]:
        """Return the run time of all tasks until now, running ones included, in seconds; and how many have ended."""
        return self.activity.busy_until(self._clock()), self.activity.completed + self.activity.failed

    def has_waiting(self, queue: str) -> bool:
        """Return whether a message of this queue waits to be started."""
        return any(first.queue == queue for first in self._buffer.first_waiting)

    def turn_of(self, queue: str) -> float:
        """Return when it is the turn of a queue: 0 for the first one, up to 1 for the one that was served last."""
        return self._buffer.turn_of(queue)

    def holds(self, matches: Callable[[Delivery], bool]) -> bool:
        """Return whether a matching message waits or runs."""
        return self._buffer.holds(matches)

    def receive(self, delivery: Delivery) -> None:
        """A message was delivered: start it if a slot is free, else let it wait."""
        self._buffer.add(delivery)
        self._fill_slots()

    def stop_starting(self) -> None:
        """Start no task from now on; running tasks continue."""
        self._buffer.close()
        self._settlement.stopping.set()
        self._tell_batches()

    def resume_starting(self) -> None:
        """Undo `stop_starting`: start waiting messages."""
        self._settlement.stopping.clear()
        self._buffer.reopen()
        self._fill_slots()

    async def requeue(self, matches: Callable[[Delivery], bool]) -> int:
        """Requeue the waiting messages that match; return their number."""
        withdrawn = self._buffer.withdraw(matches)
        await asyncio.gather(*(self._suspects.return_unstarted(delivery) for delivery in withdrawn))
        return len(withdrawn)

    async def wait_until_settled(self) -> None:
        """Wait until every started task is settled."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _fill_slots(self) -> None:
        while self._buffer.can_start and self._delay.is_over():
            delivery = self._buffer.start_next()
            self._last_start = now = self._clock()
            self._delay.begin(now)
            self.activity.begin(delivery, now)
            self._spawn(self._begin(delivery))
        _set(self.has_free_slot, not self._buffer.is_full)
        _set(self.exclusive, self._buffer.is_exclusive)
        self._tell_batches()

    def _tell_batches(self) -> None:
        """Let no batch wait for messages that do not come: while the worker stops, or a suspect runs alone."""
        may_wait = not (self._settlement.stopping.is_set() or self._buffer.is_exclusive)
        if may_wait is not self._batches_may_wait:
            self._batches_may_wait = may_wait
            self._runner.let_batches_wait(may_wait=may_wait)

    def _begin(self, delivery: Delivery) -> Coroutine[Any, Any, None]:
        if delivery.is_lost:
            return self._drop(delivery)
        if (outcome := self._ended.take(delivery)) is not None:
            return self._settle_again(delivery, outcome)
        returned = delivery.attempt.state is AttemptState.RETURNED
        return self._process_returned(delivery) if returned else self._process(delivery)

    async def _drop(self, delivery: Delivery) -> None:
        """Do not run a task whose message was lost while it waited: the broker delivers it again."""
        self.activity.settle(delivery, self._clock(), done=None)
        self._release(delivery)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _process(self, delivery: Delivery) -> None:
        CURRENT_TASK.set(delivery)
        if runs_alone(delivery):
            await self._until_quiet()
            await self._suspects.cancel_others()
            if delivery.is_lost:
                await self._drop(delivery)
                return
        started_at = time.monotonic()  # uvloop's clock counts whole milliseconds, and stands still between two steps
        if delivery.attempt.number == 1 and not delivery.redelivered:
            wait = queue_wait(delivery.published_at, time.time(), started_at - delivery.received_at)
            self._metrics.count_start(delivery.queue, *wait)
        outcome = await self._runner.run(delivery)
        seconds = time.monotonic() - started_at
        self._delay.end(outcome.status)
        await self._end(delivery, outcome, seconds)

    async def _process_returned(self, delivery: Delivery) -> None:
        """Record the next attempt of a message that came back, or dead-letter it. Its task does not run now."""
        CURRENT_TASK.set(delivery)
        if delivery.attempt.is_last(self._attempts_of(delivery)):
            failure = Failure.of(WorkerLostError(delivery.attempt.number))
            await self._end(delivery, Outcome(Status.WORKER_LOST, failure), 0)
        else:
            await self._suspects.record_next(delivery)
            self.activity.settle(delivery, self._clock(), done=None)
            self._release(delivery)

    async def _end(self, delivery: Delivery, outcome: Outcome, seconds: float) -> None:
        """Settle the message of a task that ended after so many seconds, and free its slot."""
        waited_seconds = time.monotonic() - delivery.received_at - seconds
        settled = await self._settle(delivery, outcome, waited_seconds=waited_seconds)
        self.activity.settle(delivery, self._clock(), done=outcome.status.is_done)
        if outcome.still_running is None:
            self._release(delivery)
        else:
            # A handler that does not stop keeps its slot, so that never more handlers run than the concurrency allows.
            outcome.still_running.ended.add_done_callback(lambda _: self._release(delivery))
        record_end(self._metrics, delivery, outcome, seconds, settled=settled)
        if outcome.is_lost and outcome.still_running is not None:
            self._on_lost(delivery, outcome.still_running)

    def _attempts_of(self, delivery: Delivery) -> int:
        return self._runner.attempts_of(delivery) or self._max_attempts

    async def _settle(self, delivery: Delivery, outcome: Outcome, *, waited_seconds: float = 0) -> bool:
        is_last = delivery.attempt.number >= self._attempts_of(delivery)
        settled = await self._settlement.settle(delivery, outcome, is_last=is_last, waited_seconds=waited_seconds)
        if not settled and outcome.status.is_done is not None:
            self._ended.remember(delivery, outcome)
        return settled

    async def _settle_again(self, delivery: Delivery, outcome: Outcome) -> None:
        """The broker delivered a message again whose task has ended here."""
        settled = await self._settle(delivery, outcome)
        self.activity.settle(delivery, self._clock(), done=None)
        self._release(delivery)
        _log.info("settled at redelivery", task_id=delivery.task_id, status=outcome.status.value, settled=settled)

    def _release(self, delivery: Delivery) -> None:
        self._buffer.release(delivery)
        self.activity.end(delivery, self._clock())
        self._fill_slots()
        if self._buffer.is_quiet:
            self._state_changed.set()


def _set(event: asyncio.Event, value: bool) -> None:  # noqa: FBT001 - the value of the event
    if value:
        event.set()
    else:
        event.clear()


def _was_returned_often(delivery: Delivery) -> bool:
    return delivery.counted_returns >= COUNTED_RETURNS
