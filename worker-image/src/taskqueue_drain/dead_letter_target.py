"""Where the dead letters of a worker are published."""

from dataclasses import dataclass
from typing import Final

DEFAULT_EXCHANGE: Final = ""
"""The exchange that routes a message to the queue whose name is its routing key."""


@dataclass(frozen=True, slots=True)
class DeadLetterTarget:
    """Where dead letters are published. By default each queue has its own dead-letter queue, `<queue>.dlq`."""

    exchange: str = DEFAULT_EXCHANGE
    routing_key: str | None = None

    def routing_key_of(self, queue: str) -> str:
        """Return the routing key for the dead letters of this queue."""
        return f"{queue}.dlq" if self.routing_key is None else self.routing_key
