"""How failed tasks are tried again: which attempt follows when, and its copy in a delay queue."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import NamedTuple

import structlog
from aio_pika import Message

from taskqueue_drain.aio import sleep_unless
from taskqueue_drain.backoff import Backoff

from .bounds import RETRY_TRIES
from .dead_letters import Problem, requeued, retry
from .delivery import Delivery
from .publishing.errors import PublishFailedError
from .retry_policy import RetryPolicy
from .run_outcome import Outcome

Delay = Callable[[Message, str, int], Awaitable[None]]
"""Publishes a message that returns to a queue after a delay in milliseconds, and returns once it is stored.

Raises:
    PublishFailedError: It may not be stored.
"""

_log = structlog.get_logger("settlement")


class Retries(NamedTuple):
    """How failed tasks are tried again."""

    policy: RetryPolicy
    delay: Delay

    def next_of(self, delivery: Delivery, outcome: Outcome) -> RetryPolicy | None:
        """Return the policy of a failed task, or None if no attempt follows."""
        policy = self.policy if outcome.rule is None else self.policy.under(outcome.rule)
        return None if policy.is_last(delivery.attempt.number) else policy

    async def store(
        self, delivery: Delivery, problem: Problem, choose_ms: Callable[[float], int], stopping: asyncio.Event
    ) -> bool:
        """Store the next attempt of a failed task in a delay queue; False if it cannot be stored.

        `choose_ms` returns the delay for a random number from 0 to 1.
        """
        backoff, next_attempt = Backoff(), delivery.attempt.number + 1
        line = {"task_id": delivery.task_id, "queue": delivery.queue, "attempt": next_attempt}
        for _ in range(RETRY_TRIES):
            if delivery.is_lost:
                break
            copy = retry(delivery.message, next_attempt, problem, datetime.now(UTC))
            delay_ms = choose_ms(random.random())  # noqa: S311 - spreads load
            try:
                await self.delay(copy, delivery.queue, delay_ms)
            except PublishFailedError as error:
                _log.warning("retry not stored", **line, reason=str(error))
                await sleep_unless(stopping, backoff.next_delay(0))
            else:
                _log.info("retry stored", **line, delay_seconds=delay_ms / 1000)
                return True
            if stopping.is_set():
                break
        return False

    async def store_requeued(self, delivery: Delivery, seconds: float) -> bool:
        """Store a message in a delay queue, to run as the attempt that it was; False if it is stored nowhere."""
        if self.policy.by_broker or delivery.is_lost:
            return False
        try:
            await self.delay(requeued(delivery.message, delivery.attempt.number), delivery.queue, round(seconds * 1000))
        except PublishFailedError as error:
            _log.warning("requeue not delayed", task_id=delivery.task_id, queue=delivery.queue, reason=str(error))
            return False
        return True
