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


class DeadLetter(Model):
    """Where workers publish the messages of an external queue that they cannot process."""

    exchange: BrokerName | None = Field(
        None, description="Exchange for dead letters. Defaults to the default exchange of the broker."
    )
    routing_key: str | None = Field(
        None,
        max_length=255,
        pattern=r"^[ -~]*$",  # one byte each: AMQP counts bytes
        description="Routing key for dead letters. Defaults to the name of the queue and .dlq.",
    )
