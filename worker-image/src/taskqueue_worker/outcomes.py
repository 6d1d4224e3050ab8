"""What a handler raises to decide what happens to its message. A return acknowledges the message."""

from typing import Final

from .bounds import LONGEST_DELAY_SECONDS

RETRY_TEXT: Final = "The handler asked for another attempt."


class Retry(Exception):
    """The attempt failed; the next one follows after a delay, if one is left."""

    def __init__(self, reason: str = "", *, delay: float | None = None) -> None:
        """`delay` in seconds; None for that of the retries. With `Linear` the broker chooses it.

        Raises:
            ValueError: The delay is out of range.
        """
        super().__init__(reason or RETRY_TEXT)
        self.delay = None if delay is None else _valid("Retry", delay)


class Reject(Exception):
    """The task can never be done: its message is dead-lettered at once, with reason `rejected`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)


class Requeue(Exception):
    """The task cannot be done now: its message returns to its queue and uses no attempt."""

    def __init__(self, reason: str = "", *, delay: float = 0) -> None:
        """`delay` in seconds, of which at least `REQUEUE_SECONDS` pass.

        Raises:
            ValueError: The delay is out of range.
        """
        super().__init__(reason)
        self.delay = _valid("Requeue", delay)


class Duplicate(Exception):
    """The task was done before: its message is acknowledged, and the handler does not run."""


def _valid(outcome: str, delay: object) -> float:
    if not isinstance(delay, int | float) or not 0 <= delay <= LONGEST_DELAY_SECONDS:
        raise ValueError(f"{outcome}: delay={delay!r} must be from 0 to {LONGEST_DELAY_SECONDS} seconds.")
    return float(delay)
