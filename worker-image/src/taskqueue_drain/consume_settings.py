"""What a worker reads from the environment to consume (docs/worker-contract.md)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from . import copy_headers
from .bounds import MOST_AUTO_PREFETCH, VARIABLE_CHARACTERS
from .broker import BrokerSource, broker_source
from .environment import SettingsError, is_linear, max_attempts_of, names, number, task_timeout_seconds_of

CONSUMER_TIMEOUT: Final = "x-consumer-timeout"
CONSUMER_TIMEOUT_MARGIN_SECONDS: Final = 60
AUTO: Final = "Auto"
PREFETCH: Final = "TASKQUEUE_PREFETCH"
LARGEST_PREFETCH: Final = 65_535
"""AMQP has 16 bits for it."""
COUNTED_BY_BROKER: Final = (copy_headers.BROKER_FAILURES, "x-acquired-count")


@dataclass(frozen=True, slots=True)
class ConsumeSettings:
    """The settings of a consumer.

    Attributes:
        broker: Where the address and the credentials of the broker are.
        queues: Queues to consume.
        concurrency: Tasks that run at once.
        prefetch: Unacknowledged messages that the broker delivers, per queue.
        task_timeout_seconds: Timeout of a task.
        attempts_of_broker: Attempts of a task that the broker counts and delays; 0 if it does not.
        is_prefetch_auto: Whether a worker that can change its prefetch does so, from `prefetch` to `most_prefetch`.
    """

    broker: BrokerSource
    queues: tuple[str, ...]
    concurrency: int
    prefetch: int
    task_timeout_seconds: int
    attempts_of_broker: int
    is_prefetch_auto: bool = False

    @property
    def most_prefetch(self) -> int:
        """The largest prefetch."""
        return max(self.prefetch, MOST_AUTO_PREFETCH) if self.is_prefetch_auto else self.prefetch

    @property
    def consumer_timeout_ms(self) -> int:
        """How long the broker must wait for an acknowledgement."""
        return consumer_timeout_ms(
            self.task_timeout_seconds, prefetch=self.most_prefetch * len(self.queues), concurrency=self.concurrency
        )

    def is_tried_again(self, headers: Mapping[str, Any], *, redelivered: bool) -> bool:
        """Whether a message whose task failed returns to its queue, to be delayed; else it is dead-lettered.

        A message that came back from a queue that counts nothing is dead-lettered: it would come back without end.
        """
        if redelivered and not any(name in headers for name in COUNTED_BY_BROKER):
            return False
        return copy_headers.attempt(headers) + copy_headers.broker_failures(headers) < self.attempts_of_broker

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "ConsumeSettings":
        """Read and validate the settings.

        Raises:
            SettingsError, BrokerError: A variable is missing or not valid; the text names it and the way out.
        """
        queues = names(environment, "TASKQUEUE_QUEUES")
        if not queues:
            raise SettingsError(
                "TASKQUEUE_QUEUES is not set. Set it to the queues to consume, for example TASKQUEUE_QUEUES=thumbnails."
            )
        concurrency = number(environment, "TASKQUEUE_CONCURRENCY", default=1, minimum=1, maximum=1000)
        return cls(
            broker=broker_source(environment),
            queues=queues,
            concurrency=concurrency,
            prefetch=_prefetch(environment, concurrency),
            task_timeout_seconds=task_timeout_seconds_of(environment),
            attempts_of_broker=max_attempts_of(environment) if is_linear(environment) else 0,
            is_prefetch_auto=environment.get(PREFETCH) == AUTO,
        )


def _prefetch(environment: Mapping[str, str], concurrency: int) -> int:
    """Return the prefetch, and with `Auto` the smallest one."""
    if environment.get(PREFETCH) == AUTO:
        return concurrency
    try:
        return number(environment, PREFETCH, default=concurrency, minimum=1, maximum=LARGEST_PREFETCH)
    except SettingsError:
        raise SettingsError(
            f"{PREFETCH} is {environment[PREFETCH][:VARIABLE_CHARACTERS]!r}. "
            f"Set an integer from 1 to {LARGEST_PREFETCH} or {AUTO}, or unset it for {concurrency}."
        ) from None


def consumer_timeout_ms(task_timeout_seconds: int, *, prefetch: int, concurrency: int) -> int:
    """Return how long the broker must wait for an acknowledgement: all earlier messages may run to their timeout first.

    Args:
        task_timeout_seconds: Timeout of a task.
        prefetch: Unacknowledged messages of all queues whose tasks share the slots.
        concurrency: The slots: tasks that run at once.
    """
    # One round more: after an undrain, tasks from before the drain still hold slots while messages are prefetched.
    rounds = math.ceil(prefetch / concurrency) + 1
    return (task_timeout_seconds * rounds + CONSUMER_TIMEOUT_MARGIN_SECONDS) * 1000
