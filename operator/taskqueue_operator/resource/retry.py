"""The part of the spec that describes attempts of tasks and dead letters."""

from typing import Final

from pydantic import Field

from .fields import BrokerName, Model

MAX_ATTEMPTS: Final = 5


class Retry(Model):
    """Attempts of a task."""

    max_attempts: int = Field(
        MAX_ATTEMPTS,
        ge=1,
        le=1000,
        description="Attempts of a task that ends its worker, for example for lack of memory; 1 acts as 2. After the "
        "last attempt, the message goes to the dead-letter queue. A task whose handler fails goes there at once.",
    )


LONGEST_TTL_SECONDS: Final = 49 * 86_400
"""49 days: RabbitMQ counts a time to live in milliseconds, with 32 bits."""
MOST_DEAD_LETTERS: Final = 10**9


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
        le=MOST_DEAD_LETTERS,
        description="Number of dead letters beyond which the broker drops the oldest. Defaults to no limit.",
    )

    @property
    def is_limited(self) -> bool:
        """Whether dead letters are dropped at a limit."""
        return self.message_ttl_seconds is not None or self.max_length is not None
