"""The settings of a worker, from environment variables (docs/worker-contract.md)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from taskqueue_drain.broker import BrokerError, BrokerSource, broker_source
from taskqueue_drain.consume_settings import consumer_timeout_ms

from .bounds import LONGEST_DELAY_SECONDS
from .dead_letter_target import DeadLetterTarget
from .retry_policy import RetryPolicy

CONTRACT: Final = "1"
EXPONENTIAL: Final = "Exponential"
LINEAR: Final = "Linear"


class SettingsError(Exception):
    """A setting is missing or not valid. The text names it and the way out, and holds no secret."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a worker."""

    name: str
    broker: BrokerSource
    queues: tuple[str, ...]
    concurrency: int
    prefetch: int
    """Unacknowledged messages that the broker delivers, per queue."""
    task_timeout_seconds: int
    modules: tuple[str, ...]
    http_port: int
    max_attempts: int = 5
    """Attempts of a task, before it is dead-lettered."""
    retry_policy: RetryPolicy | None = None
    """When a task whose handler fails is tried again; None if it is dead-lettered at once."""
    dead_letter_target: DeadLetterTarget = field(default_factory=DeadLetterTarget)
    pod: str = ""
    """UID of the pod; empty outside Kubernetes."""

    @property
    def attempts_of_broker(self) -> int:
        """Attempts of a task that the broker counts; 0 if workers count them."""
        return self.max_attempts if self.retry_policy is not None and self.retry_policy.by_broker else 0

    @property
    def consumer_timeout_ms(self) -> int:
        """How long the broker must wait for an acknowledgement."""
        return consumer_timeout_ms(
            self.task_timeout_seconds, prefetch=self.prefetch * len(self.queues), concurrency=self.concurrency
        )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Read and validate the settings.

        Raises:
            SettingsError: A variable is missing or not valid; the text names it and the way out.
        """
        _check_contract(environment)
        queues = _names(environment, "TASKQUEUE_QUEUES", default="")
        if not queues:
            raise SettingsError(
                "TASKQUEUE_QUEUES is not set. Set it to the queues to consume, for example TASKQUEUE_QUEUES=thumbnails."
            )
        max_attempts = _number(environment, "TASKQUEUE_MAX_ATTEMPTS", default=5, minimum=1, maximum=1000)
        concurrency = _number(environment, "TASKQUEUE_CONCURRENCY", default=1, minimum=1, maximum=1000)
        return cls(
            name=environment.get("TASKQUEUE_NAME") or "local/worker",
            broker=_broker(environment),
            queues=queues,
            concurrency=concurrency,
            # AMQP has 16 bits for the prefetch count.
            prefetch=_number(environment, "TASKQUEUE_PREFETCH", default=concurrency, minimum=1, maximum=65_535),
            task_timeout_seconds=_number(
                environment, "TASKQUEUE_TASK_TIMEOUT_SECONDS", default=870, minimum=1, maximum=7 * 24 * 3600
            ),
            modules=_names(environment, "TASKQUEUE_MODULES", default="tasks"),
            http_port=_number(environment, "TASKQUEUE_HTTP_PORT", default=8080, minimum=0, maximum=65_535),
            max_attempts=max_attempts,
            retry_policy=_retry_policy(environment, max_attempts),
            dead_letter_target=DeadLetterTarget(
                environment.get("TASKQUEUE_DEAD_LETTER_EXCHANGE", ""),
                environment.get("TASKQUEUE_DEAD_LETTER_ROUTING_KEY"),
            ),
            pod=environment.get("TASKQUEUE_POD_UID", ""),
        )


def _broker(environment: Mapping[str, str]) -> BrokerSource:
    try:
        return broker_source(environment)
    except BrokerError as error:
        raise SettingsError(str(error)) from None


def _retry_policy(environment: Mapping[str, str], max_attempts: int) -> RetryPolicy | None:
    """Return None without an initial delay: the exchange that returns retries to their queue may not exist."""
    seconds = {
        variable: _number(environment, variable, default=default, minimum=minimum, maximum=LONGEST_DELAY_SECONDS)
        for variable, default, minimum in (
            ("TASKQUEUE_RETRY_INITIAL_SECONDS", 0, 0),
            ("TASKQUEUE_RETRY_MAX_SECONDS", 3600, 1),
        )
    }
    initial, longest = seconds.values()
    by_broker = _is_linear(environment)
    return RetryPolicy(max_attempts, initial, longest, by_broker=by_broker) if initial or by_broker else None


def _is_linear(environment: Mapping[str, str]) -> bool:
    type_ = environment.get("TASKQUEUE_RETRY_TYPE") or EXPONENTIAL
    if type_ not in {EXPONENTIAL, LINEAR}:
        raise SettingsError(
            f"TASKQUEUE_RETRY_TYPE is {type_!r}. Set {EXPONENTIAL} or {LINEAR}, or unset it for {EXPONENTIAL}."
        )
    return type_ == LINEAR


def _check_contract(environment: Mapping[str, str]) -> None:
    contract = environment.get("TASKQUEUE_CONTRACT", CONTRACT)
    if contract != CONTRACT:
        raise SettingsError(
            f"TASKQUEUE_CONTRACT is {contract!r}, but this worker implements contract {CONTRACT}. "
            f"Build the image with a taskqueue_worker that implements contract {contract}."
        )


def _names(environment: Mapping[str, str], variable: str, *, default: str) -> tuple[str, ...]:
    names = (name.strip() for name in (environment.get(variable) or default).split(","))
    return tuple(dict.fromkeys(name for name in names if name))


def _number(environment: Mapping[str, str], variable: str, *, default: int, minimum: int, maximum: int) -> int:
    text = environment.get(variable) or str(default)
    try:
        number = int(text)
    except ValueError:
        number = minimum - 1
    if not minimum <= number <= maximum:
        raise SettingsError(
            f"{variable} is {text!r}. Set an integer from {minimum} to {maximum}, or unset it for {default}."
        )
    return number
