"""Takes deliveries in, runs as many at once as it may, settles each, and says so."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from structlog.contextvars import bind_contextvars

from .activity import Activity
from .delivery import Delivery
from .delivery_buffer import DeliveryBuffer
from .metrics import Metrics
from .runner import Outcome, Runner, Status

log = structlog.get_logger(__name__)


class Worker:
    """The life of a message between its delivery and its settlement."""

    def __init__(self, runner: Runner, concurrency: int, metrics: Metrics, news: asyncio.Event) -> None:
        """`news` is set when nothing runs any more and nothing will start."""
        self._runner = runner
        self._news = news
        self._clock = asyncio.get_running_loop().time
        self.activity = Activity(self._clock())
        self._hoard: DeliveryBuffer[Delivery] = DeliveryBuffer(concurrency)
        self._metrics = metrics
        self._tasks: set[asyncio.Task[None]] = set()
        metrics.watch("in_flight", lambda: self._hoard.in_flight)
        metrics.watch("prefetched", lambda: self._hoard.prefetched)

    @property
    def in_flight(self) -> int:
        """How many tasks run, those that would not stop included."""
        return self._hoard.in_flight

    @property
    def prefetched(self) -> int:
        """How many messages wait to be started."""
        return self._hoard.prefetched

    def holds(self, which: Callable[[Delivery], bool]) -> bool:
        """Whether a message that matches waits or runs."""
        return self._hoard.holds(which)

    def receive(self, delivery: Delivery) -> None:
        """A message arrived: run it now if a slot is free, else keep it."""
        self._hoard.receive(delivery)
        self._start_what_fits()

    def stop_starting(self) -> None:
        """From this moment no task starts; what runs goes on."""
        self._hoard.close()

    def start_again(self) -> None:
        """Undo `stop_starting`: what waits starts, as far as it fits."""
        self._hoard.reopen()
        self._start_what_fits()

    async def give_back(self, which: Callable[[Delivery], bool]) -> int:
        """Return what has not started and matches to its queue. How many."""
        taken = self._hoard.take_back(which)
        await asyncio.gather(*(delivery.give_back() for delivery in taken))
        return len(taken)

    async def finish(self) -> None:
        """Wait until everything that runs is settled."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _start_what_fits(self) -> None:
        while (delivery := self._hoard.start()) is not None:
            self.activity.begin(delivery, self._clock())
            self._spawn(self._work(delivery))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, delivery: Delivery) -> None:
        bind_contextvars(task_id=delivery.task_id)
        began = time.monotonic()
        outcome = await self._runner.run(delivery)
        seconds = time.monotonic() - began
        settled = await _settle(delivery, outcome.status)
        self.activity.settle(delivery, self._clock(), done=_is_done(outcome.status))
        if outcome.still_running is None:
            self._release(delivery)
        else:
            # What does not stop keeps its slot, or more would run than may.
            outcome.still_running.add_done_callback(lambda _: self._release(delivery))
        self._report(delivery, outcome, seconds, settled=settled)

    def _release(self, delivery: Delivery) -> None:
        self._hoard.release(delivery)
        self.activity.end(delivery, self._clock())
        self._start_what_fits()
        if self._hoard.is_quiet:
            self._news.set()

    def _report(self, delivery: Delivery, outcome: Outcome, seconds: float, *, settled: bool) -> None:
        self._metrics.task_ended(delivery.queue, delivery.type, outcome.status, seconds)
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
        if outcome.error is None:
            log.info("task", **line)
        else:
            log.error("task", **line, exc_info=outcome.error)
        if not settled and outcome.status is not Status.ABANDONED:
            self._metrics.ack_failed.inc()
            log.warning("the connection died before the task was settled: the broker will deliver it again")


def _is_done(status: Status) -> bool | None:
    return None if status in {Status.GIVEN_BACK, Status.ABANDONED} else status is Status.DONE


async def _settle(delivery: Delivery, status: Status) -> bool:
    match status:
        case Status.DONE:
            return await delivery.acknowledge()
        case Status.GIVEN_BACK:
            return await delivery.give_back()
        case Status.ABANDONED:
            return False
        case Status.FAILED | Status.TIMEOUT | Status.UNKNOWN_TYPE | Status.INVALID_PAYLOAD:
            return await delivery.dead_letter()
