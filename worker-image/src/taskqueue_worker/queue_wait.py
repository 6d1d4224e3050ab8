"""How long a message has waited for the start of its task. Pure."""

from datetime import datetime

from .bounds import CLOCK_SKEW_SECONDS, LONGEST_QUEUE_SECONDS

PUBLISH = "publish"
DELIVERY = "delivery"


def queue_wait(published_at: object, now: float, seconds_here: float) -> tuple[str, float]:
    """Return since when a message waits, and for how long.

    Args:
        published_at: The AMQP timestamp, which the publisher may have set to anything.
        now: Seconds since the epoch.
        seconds_here: How long the message has been in this worker.
    """
    if isinstance(published_at, datetime):
        seconds = now - published_at.timestamp()
        if -CLOCK_SKEW_SECONDS <= seconds <= LONGEST_QUEUE_SECONDS:
            return PUBLISH, max(seconds, seconds_here)
    return DELIVERY, seconds_here
