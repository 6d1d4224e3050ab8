"""Settles messages. A message leaves its queue only when it is done, or when another queue has confirmed its copy."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import structlog
from aio_pika import Message

from taskqueue_drain.aio import sleep_unless
from taskqueue_drain.backoff import Backoff
from taskqueue_drain.dead_letter_target import DEFAULT_EXCHANGE, DeadLetterTarget

from .bounds import HELD_REQUEUE_SECONDS, REQUEUE_SECONDS
from .dead_letters import Problem, dead_letter, requeued, returning
from .delivery import Delivery
from .failure import Failure
from .metrics import Metrics
from .publishing.errors import PublishFailedError
from .retries import Retries
from .run_outcome import Outcome, Status

Send = Callable[[Message, str, str], Awaitable[None]]
"""Publishes a message to an exchange with a routing key, and returns once a queue has confirmed it.

Raises:
    PublishFailedError: No queue has confirmed it.
"""

Tell = Callable[[Delivery, Problem], Awaitable[None]]

_log = structlog.get_logger("settlement")


class Settlement:
    """Retries and dead-letters messages, and records attempts, by confirmed copies.

    Attributes:
        stopping: Set while the worker starts no task. A message that cannot be dead-lettered is then requeued.
        tell: Called for each dead letter that is stored, if set.
        blocked: Number of messages that wait because their dead letter cannot be stored.
    """

    def __init__(
        self,
        send: Send,
        target: DeadLetterTarget,
        metrics: Metrics,
        state_changed: asyncio.Event,
        retries: Retries | None = None,
    ) -> None:
        """`state_changed` is set when a message begins or ends to wait. Without `retries` no failed task is retried."""
        self._send = send
        self._retries = retries
        self._state_changed = state_changed
        self._target = target
        self._metrics = metrics
        self.stopping = asyncio.Event()
        self.tell: Tell | None = None
        self.blocked = 0
        metrics.add_gauge("dead_letters_blocked", lambda: self.blocked)

    async def settle(
        self, delivery: Delivery, outcome: Outcome, *, is_last: bool = True, waited_seconds: float = 0
    ) -> bool:
        """Settle the message of an ended task; return whether it is settled.

        Args:
            delivery: The message.
            outcome: How its task ended.
            is_last: Whether no attempt is left for a task whose process was lost.
            waited_seconds: How long the message has waited for its slot.
        """
        match outcome.status:
            case Status.DONE | Status.DUPLICATE:
                return await delivery.acknowledge()
            case Status.REQUEUED:
                return await self._requeue(delivery, outcome, waited_seconds)
            case Status.ABANDONED:
                return False
            case Status.FAILED | Status.TIMEOUT:
                return await self._try_again(delivery, outcome)
            case Status.WORKER_LOST if not is_last:
                recorded = self._retries is None and await self.record_next(delivery)
                return recorded or await self._try_again(delivery, outcome)
            case _:
                return await self.dead_letter(delivery, _problem(outcome))

    async def _try_again(self, delivery: Delivery, outcome: Outcome) -> bool:
        """Settle the message of a failed task: another attempt follows, or it is dead-lettered."""
        problem = _problem(outcome)
        policy = None if self._retries is None else self._retries.next_of(delivery, outcome)
        if self._retries is None or policy is None:
            return await self.dead_letter(delivery, problem)
        if policy.by_broker:
            return await self._reject(delivery)

        def choose_ms(jitter: float) -> int:
            return _asked_ms(outcome) or policy.delay_ms(delivery.attempt.number, jitter)

        if await self._retries.store(delivery, problem, choose_ms, self.stopping):
            self._metrics.count_retry(delivery.queue)
            return await delivery.acknowledge()
        return await self.dead_letter(delivery, problem)

    async def dead_letter(self, delivery: Delivery, problem: Problem) -> bool:
        """Store the dead letter, however long that takes, then acknowledge the message.

        A message is never rejected: without a dead-letter exchange, or if the dead-letter queue is missing or full, the
        broker would drop it.

        Returns:
            Whether the message is settled: dead-lettered, or requeued because the worker stops.
        """
        letter = dead_letter(delivery.message, delivery.queue, delivery.attempt.number, problem, _now())
        if await self._store(delivery, letter):
            self._metrics.count_dead_letter(delivery.queue, problem.reason)
            if self.tell is not None:
                await self.tell(delivery, problem)
            return await delivery.acknowledge()
        return not delivery.is_lost and await delivery.requeue()

    async def record_next(self, delivery: Delivery) -> bool:
        """Replace a returned message by its copy with the next attempt. False: that failed, and nothing has changed."""
        return await self._replace(delivery, delivery.attempt.headers_of_next())

    async def cancel_attempt(self, delivery: Delivery) -> None:
        """Replace a recorded message, whose attempt does not begin here, by a copy that does not count the attempt."""
        if not await self._replace(delivery, delivery.attempt.headers_of_cancelled()):
            await delivery.requeue()

    async def _reject(self, delivery: Delivery) -> bool:
        """Return a failed message to its queue, which delays it."""
        settled = await delivery.reject()
        if settled:
            attempt = delivery.attempt.number + 1
            _log.info("retry left to the broker", task_id=delivery.task_id, queue=delivery.queue, attempt=attempt)
            self._metrics.count_retry(delivery.queue)
        return settled

    async def _requeue(self, delivery: Delivery, outcome: Outcome, waited_seconds: float) -> bool:
        """Return a message; after a delay and as a copy if its handler asked for it, so that no broker counts that.

        Where no delay queue may be used, the message waits here, and so does the slot: all the less if it has waited
        for the slot, since a message that outlives its consumer timeout would return twice.
        """
        if outcome.failure is None:
            return await delivery.requeue()
        seconds = max(REQUEUE_SECONDS, outcome.failure.delay_seconds or 0)
        if self._retries is None or not await self._retries.store_requeued(delivery, seconds):
            held_seconds = max(REQUEUE_SECONDS, min(seconds, HELD_REQUEUE_SECONDS - waited_seconds))
            await sleep_unless(self.stopping, held_seconds)
            if delivery.is_lost:
                return False
            try:
                await self._send(requeued(delivery.message, delivery.attempt.number), DEFAULT_EXCHANGE, delivery.queue)
            except PublishFailedError as error:
                _log.warning("requeued by the broker", task_id=delivery.task_id, reason=str(error))
                return await delivery.requeue()
        return await delivery.acknowledge()

    async def _store(self, delivery: Delivery, letter: Message) -> bool:
        exchange, routing_key = self._target.exchange, self._target.routing_key_of(delivery.queue)
        backoff, waits = Backoff(), False
        try:
            while not delivery.is_lost:
                try:
                    await self._send(letter, exchange, routing_key)
                except PublishFailedError as error:
                    if not waits:
                        waits = True
                        self._count_blocked(1)
                    await self._pause(delivery, backoff, error)
                    if self.stopping.is_set():
                        return False
                else:
                    return True
            return False
        finally:
            if waits:
                self._count_blocked(-1)

    def _count_blocked(self, change: int) -> None:
        self.blocked += change
        self._state_changed.set()

    async def _pause(self, delivery: Delivery, backoff: Backoff, error: PublishFailedError) -> None:
        delay = backoff.next_delay(0)
        _log.error(
            "dead letter not stored",
            task_id=delivery.task_id,
            queue=delivery.queue,
            exchange=self._target.exchange,
            routing_key=self._target.routing_key_of(delivery.queue),
            reason=str(error),
            retry_in_seconds=round(delay, 3),
        )
        await sleep_unless(self.stopping, delay)

    async def _replace(self, delivery: Delivery, headers: dict[str, object]) -> bool:
        if delivery.is_lost:
            return False
        copy = returning(delivery.message, headers, _now())
        try:
            await self._send(copy, DEFAULT_EXCHANGE, delivery.queue)
        except PublishFailedError as error:
            _log.warning("attempt not recorded", task_id=delivery.task_id, queue=delivery.queue, reason=str(error))
            return False
        # The task of this copy, or of a suspect that waits for this one to be given back, may end the process at once.
        await delivery.acknowledge_and_wait()
        return True


def _problem(outcome: Outcome) -> Problem:
    failure = outcome.failure or Failure("", "", "")
    return Problem(outcome.status.value, failure.type, failure.text)


def _asked_ms(outcome: Outcome) -> int | None:
    """The delay that the handler asked for with `Retry`, at least a millisecond."""
    seconds = None if outcome.failure is None else outcome.failure.delay_seconds
    return None if seconds is None else max(1, round(seconds * 1000))


def _now() -> datetime:
    return datetime.now(UTC)
