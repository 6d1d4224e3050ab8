"""The environment of a worker that joins (docs/worker-contract.md)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from .bounds import LONGEST_TIMEOUT_SECONDS, MOST_ATTEMPTS, VARIABLE_CHARACTERS
from .dead_letter_target import DeadLetterTarget
from .protocol import Identity

CONTRACT: Final = "1"
EXPONENTIAL: Final = "Exponential"
LINEAR: Final = "Linear"


class CannotJoinError(Exception):
    """The worker cannot be drained. The text says why, and the way out."""


class SettingsError(CannotJoinError):
    """A variable is missing or not valid. The text names it and the way out, and holds no secret."""


@dataclass(frozen=True, slots=True)
class RetrySettings:
    """How often a task is tried, and where its message goes after that.

    Attributes:
        max_attempts: Attempts of a task that ends its worker: at least 2, because the first one may not have begun.
        is_by_broker: Whether RabbitMQ delays and counts what a consumer rejects with requeue.
        dead_letter_target: Where its dead letters are published.
    """

    max_attempts: int
    is_by_broker: bool
    dead_letter_target: DeadLetterTarget


def identity_of(environment: Mapping[str, str]) -> Identity:
    """Read what identifies the worker.

    Raises:
        SettingsError: A variable is missing or not valid.
    """
    check_contract(environment)
    if not (name := environment.get("TASKQUEUE_NAME")):
        raise SettingsError("TASKQUEUE_NAME is not set: the operator sets it in the pods of a TaskQueue")
    return Identity(name, environment.get("TASKQUEUE_POD_UID", ""), uuid4().hex, task_timeout_seconds_of(environment))


def check_contract(environment: Mapping[str, str]) -> None:
    """Check that the operator sets the variables that these packages know.

    Raises:
        SettingsError: It sets those of another contract.
    """
    contract = environment.get("TASKQUEUE_CONTRACT", CONTRACT)
    if contract != CONTRACT:
        text = contract[:VARIABLE_CHARACTERS]
        raise SettingsError(
            f"TASKQUEUE_CONTRACT is {text!r}, but this worker implements contract {CONTRACT}. "
            f"Build the image with taskqueue packages that implement contract {text}."
        )


def retry_settings_of(environment: Mapping[str, str]) -> RetrySettings:
    """Read how often a task is tried.

    Raises:
        SettingsError: A variable is not valid.
    """
    return RetrySettings(
        max(2, max_attempts_of(environment)), is_linear(environment), dead_letter_target_of(environment)
    )


def max_attempts_of(environment: Mapping[str, str]) -> int:
    """Read how often a task is tried.

    Raises:
        SettingsError: It is not valid.
    """
    return number(environment, "TASKQUEUE_MAX_ATTEMPTS", default=5, minimum=1, maximum=MOST_ATTEMPTS)


def is_linear(environment: Mapping[str, str]) -> bool:
    """Read whether the broker delays and counts the retries.

    Raises:
        SettingsError: The type of the retries is unknown.
    """
    type_ = environment.get("TASKQUEUE_RETRY_TYPE") or EXPONENTIAL
    if type_ not in {EXPONENTIAL, LINEAR}:
        raise SettingsError(
            f"TASKQUEUE_RETRY_TYPE is {type_[:VARIABLE_CHARACTERS]!r}. "
            f"Set {EXPONENTIAL} or {LINEAR}, or unset it for {EXPONENTIAL}."
        )
    return type_ == LINEAR


def dead_letter_target_of(environment: Mapping[str, str]) -> DeadLetterTarget:
    """Read where dead letters are published."""
    return DeadLetterTarget(
        environment.get("TASKQUEUE_DEAD_LETTER_EXCHANGE", ""), environment.get("TASKQUEUE_DEAD_LETTER_ROUTING_KEY")
    )


def port_of(environment: Mapping[str, str]) -> int:
    """Read the port of the endpoints.

    Raises:
        SettingsError: It is not a port.
    """
    return number(environment, "TASKQUEUE_HTTP_PORT", default=8080, minimum=0, maximum=65_535)


def task_timeout_seconds_of(environment: Mapping[str, str]) -> int:
    """Read the timeout of a task.

    Raises:
        SettingsError: It is not valid.
    """
    name = "TASKQUEUE_TASK_TIMEOUT_SECONDS"
    return number(environment, name, default=870, minimum=1, maximum=LONGEST_TIMEOUT_SECONDS)


def names(environment: Mapping[str, str], variable: str, *, default: str = "") -> tuple[str, ...]:
    """Read a list that is separated by commas, without duplicates."""
    parts = (part.strip() for part in (environment.get(variable) or default).split(","))
    return tuple(dict.fromkeys(part for part in parts if part))


def number(environment: Mapping[str, str], variable: str, *, default: int, minimum: int, maximum: int) -> int:
    """Read an integer.

    Raises:
        SettingsError: It is none, or out of range.
    """
    text = environment.get(variable) or str(default)
    is_number = text.isascii() and text.isdecimal() and len(text) <= len(str(maximum))
    if not (is_number and minimum <= int(text) <= maximum):
        raise SettingsError(
            f"{variable} is {text[:VARIABLE_CHARACTERS]!r}. "
            f"Set an integer from {minimum} to {maximum}, or unset it for {default}."
        )
    return int(text)
