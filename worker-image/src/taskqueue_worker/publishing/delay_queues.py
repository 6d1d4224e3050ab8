"""The queues in which retries wait, and their arguments, which all workers of a vhost declare equally. Pure.

A delay queue holds the retries of all TaskQueues of its vhost for at most its time, a power of two of seconds. Then the
broker publishes them to the exchange `taskqueue.return`, which routes each one to the queue that it came from.
"""

from collections.abc import Mapping
from typing import Any, Final

from taskqueue_worker.bounds import DELAYED_EXPIRES_SECONDS, MARKER_MARGIN_SECONDS

RETURN_EXCHANGE: Final = "taskqueue.return"
"""The operator declares it, binds each queue to it, and gives it a parking queue for what it cannot route."""


def delay_seconds_of(delay_ms: int) -> int:
    """Return the time of the delay queue for a delay: the smallest power of two that is not shorter."""
    return 1 << max(0, (-(-delay_ms // 1000) - 1).bit_length())


def delay_queue(seconds: int) -> str:
    """Return the name of a delay queue and of its exchange."""
    return f"taskqueue.delay.{seconds}s"


def delay_arguments(seconds: int) -> Mapping[str, Any]:
    """Return the arguments of a delay queue. No dead-letter routing key: the key of a message names its queue."""
    return {
        "x-queue-type": "quorum",
        "x-message-ttl": seconds * 1000,
        "x-dead-letter-exchange": RETURN_EXCHANGE,
        # A message leaves the delay queue when its own queue, or the parking queue, has confirmed it.
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }


def marker_queue(queue: str) -> str:
    """Return the name of the queue that holds one marker for each delayed message of a queue."""
    return f"taskqueue.delayed.{queue}"


MARKER_ARGUMENTS: Final[Mapping[str, Any]] = {
    "x-queue-type": "quorum",
    # The broker removes the queue some time after the last marker has expired. No message of a user is in it.
    "x-expires": DELAYED_EXPIRES_SECONDS * 1000,
}


def marker_ms(seconds: int) -> int:
    """Return how long a marker lives: longer than its message can stay in the delay queue with this time."""
    return (seconds + MARKER_MARGIN_SECONDS) * 1000
