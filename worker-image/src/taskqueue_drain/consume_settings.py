"""What a consumer by hand reads from the environment (docs/worker-contract.md)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from .broker import BrokerSource, broker_source
from .environment import LONGEST_TIMEOUT_SECONDS, MOST_ATTEMPTS, number

CONSUMER_TIMEOUT: Final = "x-consumer-timeout"
CONSUMER_TIMEOUT_MARGIN_SECONDS: Final = 60
COUNTED_BY_BROKER: Final = ("x-delivery-count", "x-acquired-count")


class SettingsError(Exception):
    """A setting is missing. The text names it and the way out, and holds no secret."""


@dataclass(frozen=True, slots=True)
class ConsumeSettings:
    """The settings of a consumer.

    Attributes:
        broker: Where the address and the credentials of the broker are.
        queues: Queues to consume.
        concurrency: Tasks that run at once.
        prefetch: Unacknowledged messages that the broker delivers, per queue.
        task_timeout_seconds: Timeout of a task.
        attempts_of_broker: Attempts of a task that the broker counts and delays; 1 without.
    """

    broker: BrokerSource
    queues: tuple[str, ...]
    concurrency: int
    prefetch: int
    task_timeout_seconds: int
    attempts_of_broker: int

    @property
    def consumer_timeout_ms(self) -> int:
        """How long the broker must wait for an acknowledgement."""
        return consumer_timeout_ms(
            self.task_timeout_seconds, prefetch=self.prefetch * len(self.queues), concurrency=self.concurrency
        )

    def is_tried_again(self, headers: Mapping[str, Any], *, redelivered: bool) -> bool:
        """Whether a message whose task failed returns to its queue, to be delayed; else it is dead-lettered.

        A message that came back from a queue that counts nothing is dead-lettered: it would come back without end.
        """
        if redelivered and not any(name in headers for name in COUNTED_BY_BROKER):
            return False
        attempt = _count(headers.get("x-attempt"), least=1) + _count(headers.get("x-delivery-count"), least=0)
        return attempt < self.attempts_of_broker

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "ConsumeSettings":
        """Read and validate the settings.

        Raises:
            SettingsError, BrokerError, CannotJoinError: A variable is missing or not valid; the text names it.
        """
        parts = (part.strip() for part in environment.get("TASKQUEUE_QUEUES", "").split(","))
        queues = tuple(dict.fromkeys(part for part in parts if part))
        if not queues:
            raise SettingsError("TASKQUEUE_QUEUES is not set: set it to the queues to consume, separated by commas")
        concurrency = number(environment, "TASKQUEUE_CONCURRENCY", default=1, minimum=1, maximum=1000)
        is_linear = environment.get("TASKQUEUE_RETRY_TYPE") == "Linear"
        return cls(
            broker=broker_source(environment),
            queues=queues,
            concurrency=concurrency,
            # AMQP has 16 bits for the prefetch count.
            prefetch=number(environment, "TASKQUEUE_PREFETCH", default=concurrency, minimum=1, maximum=65_535),
            task_timeout_seconds=number(
                environment, "TASKQUEUE_TASK_TIMEOUT_SECONDS", default=870, minimum=1, maximum=LONGEST_TIMEOUT_SECONDS
            ),
            attempts_of_broker=number(environment, "TASKQUEUE_MAX_ATTEMPTS", default=5, minimum=1, maximum=1000)
            if is_linear
            else 1,
        )


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


def _count(value: object, *, least: int) -> int:
    """Read a number that a publisher may have set to anything."""
    if not isinstance(value, int) or isinstance(value, bool):
        return least
    return min(max(value, least), MOST_ATTEMPTS)
