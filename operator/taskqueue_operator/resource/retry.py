"""The part of the spec that describes attempts of tasks and dead letters."""

from enum import StrEnum
from typing import Final

from pydantic import ConfigDict, Field

from .bounds import DELIVERY_LIMIT, LONGEST_DELAY_SECONDS, LONGEST_TTL_SECONDS, QUEUE_MESSAGES
from .fields import BrokerName, Model, rule, rules

MAX_ATTEMPTS: Final = 5
INITIAL_SECONDS: Final = 5
MAX_SECONDS: Final = 3600
LINEAR_ATTEMPTS: Final = DELIVERY_LIMIT
"""Most attempts that RabbitMQ counts before the delivery limit of the queue dead-letters the message."""


class BackoffType(StrEnum):
    """How delays grow from attempt to attempt."""

    EXPONENTIAL = "Exponential"
    LINEAR = "Linear"


class Backoff(Model):
    """Delays between the attempts of a task whose handler fails."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.initialSeconds <= self.maxSeconds",
                f"initialSeconds is greater than maxSeconds, which defaults to {MAX_SECONDS}. Lower initialSeconds or "
                "raise maxSeconds.",
                path=".initialSeconds",
            )
        )
    )

    type: BackoffType = Field(
        BackoffType.EXPONENTIAL,
        description="Exponential: the longest delay doubles with each attempt, and the delay is a random part of it. "
        "Linear: RabbitMQ (4.3.1 or newer, Quorum queues) delays what a consumer rejects with requeue; the delay grows "
        "by initialSeconds with each attempt.",
    )
    initial_seconds: int = Field(
        INITIAL_SECONDS,
        ge=1,
        le=LONGEST_DELAY_SECONDS,
        description="Delay after the first attempt; Exponential: the longest one.",
    )
    max_seconds: int = Field(
        MAX_SECONDS, ge=1, le=LONGEST_DELAY_SECONDS, description="Longest delay after any attempt."
    )


class Retry(Model):
    """Attempts of a task."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                f"!has(self.backoff) || self.backoff.type != 'Linear' || self.maxAttempts <= {LINEAR_ATTEMPTS}",
                f"RabbitMQ dead-letters a message of the operator's queues after {LINEAR_ATTEMPTS} returns. Lower "
                f"maxAttempts to {LINEAR_ATTEMPTS} or less, or set backoff.type: Exponential.",
                path=".maxAttempts",
            )
        )
    )

    max_attempts: int = Field(
        MAX_ATTEMPTS,
        ge=1,
        le=1000,
        description="Attempts of a task whose handler fails or that ends its worker, for example for lack of memory. "
        "For the latter, 1 acts as 2. After the last attempt, the message goes to the dead-letter queue. At most "
        f"{LINEAR_ATTEMPTS} with Linear.",
    )
    backoff: Backoff | None = Field(
        None,
        description="Delays between the attempts of a task whose handler fails. Defaults to Exponential, from "
        f"{INITIAL_SECONDS} s to {MAX_SECONDS} s. For an external queue there are none: a task whose handler fails "
        "goes to the dead-letter queue at once.",
    )


class DeadLetter(Model):
    """Dead letters: those of an external queue, where they go; those of other queues, how many are kept, how long."""

    exchange: BrokerName | None = Field(
        None, description="Exchange for dead letters. Defaults to the default exchange of the broker."
    )
    routing_key: str | None = Field(
        None,
        max_length=255,
        pattern=r"^[ -~]*$",  # one byte each: AMQP counts bytes
        description="Routing key for dead letters. Defaults to the name of the queue and .dlq.",
    )
    message_ttl_seconds: int | None = Field(
        None,
        ge=1,
        le=LONGEST_TTL_SECONDS,
        description="Time after which the broker drops a dead letter. Defaults to no limit.",
    )
    max_length: int | None = Field(
        None,
        ge=1,
        le=QUEUE_MESSAGES,
        description="Number of dead letters beyond which the broker drops the oldest. Defaults to no limit.",
    )

    @property
    def is_limited(self) -> bool:
        """Whether dead letters are dropped at a limit."""
        return self.message_ttl_seconds is not None or self.max_length is not None
