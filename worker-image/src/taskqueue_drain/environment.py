"""The environment of a worker that joins (docs/worker-contract.md)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from .protocol import Identity

CONTRACT: Final = "1"
LONGEST_TIMEOUT_SECONDS: Final = 7 * 24 * 3600
MOST_ATTEMPTS: Final = 1_000_000


class CannotJoinError(Exception):
    """The worker cannot be drained. The text says why, and the way out."""


@dataclass(frozen=True, slots=True)
class RetrySettings:
    """How often a task is tried, and where its message goes after that.

    Attributes:
        max_attempts: Attempts of a task that ends its worker: at least 2, because the first one may not have begun.
        is_by_broker: Whether RabbitMQ delays and counts what a consumer rejects with requeue.
        dead_letter_exchange: Exchange for dead letters.
        dead_letter_routing_key: Their routing key; None if it is the name of the queue and `.dlq`.
    """

    max_attempts: int
    is_by_broker: bool
    dead_letter_exchange: str
    dead_letter_routing_key: str | None

    def dead_letter_key(self, queue: str) -> str:
        """Return the routing key for the dead letters of a queue."""
        return f"{queue}.dlq" if self.dead_letter_routing_key is None else self.dead_letter_routing_key


def identity_of(environment: Mapping[str, str]) -> Identity:
    """Read what identifies the worker.

    Raises:
        CannotJoinError: A variable is missing or not valid.
    """
    contract = environment.get("TASKQUEUE_CONTRACT", CONTRACT)
    if contract != CONTRACT:
        raise CannotJoinError(f"TASKQUEUE_CONTRACT is {contract!r}: install a taskqueue-drain of that contract")
    if not (name := environment.get("TASKQUEUE_NAME")):
        raise CannotJoinError("TASKQUEUE_NAME is not set: the operator sets it in the pods of a TaskQueue")
    return Identity(name, environment.get("TASKQUEUE_POD_UID", ""), uuid4().hex, task_timeout_seconds_of(environment))


def retry_settings_of(environment: Mapping[str, str]) -> RetrySettings:
    """Read how often a task is tried.

    Raises:
        CannotJoinError: A variable is not valid.
    """
    attempts = number(environment, "TASKQUEUE_MAX_ATTEMPTS", default=5, minimum=1, maximum=MOST_ATTEMPTS)
    return RetrySettings(
        max(2, attempts),
        environment.get("TASKQUEUE_RETRY_TYPE") == "Linear",
        environment.get("TASKQUEUE_DEAD_LETTER_EXCHANGE", ""),
        environment.get("TASKQUEUE_DEAD_LETTER_ROUTING_KEY"),
    )


def port_of(environment: Mapping[str, str]) -> int:
    """Read the port of the endpoints.

    Raises:
        CannotJoinError: It is not a port.
    """
    return number(environment, "TASKQUEUE_HTTP_PORT", default=8080, minimum=0, maximum=65_535)


def task_timeout_seconds_of(environment: Mapping[str, str]) -> int:
    """Read the timeout of a task.

    Raises:
        CannotJoinError: It is not valid.
    """
    name = "TASKQUEUE_TASK_TIMEOUT_SECONDS"
    return number(environment, name, default=870, minimum=1, maximum=LONGEST_TIMEOUT_SECONDS)


def number(environment: Mapping[str, str], variable: str, *, default: int, minimum: int, maximum: int) -> int:
    """Read an integer.

    Raises:
        CannotJoinError: It is none, or out of range.
    """
    text = environment.get(variable) or str(default)
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(maximum))):
        text = "-1"
    if not minimum <= int(text) <= maximum:
        raise CannotJoinError(f"{variable} must be an integer from {minimum} to {maximum}")
    return int(text)
