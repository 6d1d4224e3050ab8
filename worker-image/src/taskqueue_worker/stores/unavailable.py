"""What to do while a store does not answer."""

import asyncio
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Final

from taskqueue_drain.backoff import Backoff

SHORTEST_PAUSE_SECONDS: Final = 1.0


class StoreUnavailableError(Exception):
    """The store did not do what it was asked, or not in time: it may have done it all the same."""


class OnUnavailable(StrEnum):
    """What happens to a task whose store is away."""

    RETRY = "retry"
    """It returns to its queue, uses no attempt, and comes back after a pause."""
    RUN = "run"
    """It runs as if it had no store."""


class Pauses:
    """The pauses of the tasks that return to their queue: longer while the store stays away."""

    def __init__(self) -> None:
        self._backoff = Backoff()

    def next_seconds(self) -> float:
        """Return the pause of one task."""
        return SHORTEST_PAUSE_SECONDS + self._backoff.next_delay(0)

    def reset(self) -> None:
        """Begin anew: the store has answered."""
        self._backoff = Backoff()


TRIES: Final = 5
"""How often the end of a task is reported to its store."""


async def report_end(report: Callable[[], Awaitable[bool]], tries: int = TRIES) -> str | None:
    """Report to a store how a task has ended, again while the store is away. Return why it does not know it, if so."""
    backoff, reason = Backoff(), ""
    for number in range(tries):
        if number:
            await asyncio.sleep(backoff.next_delay(0))
        try:
            return None if await report() else "another worker has taken the task over"
        except StoreUnavailableError as error:
            reason = str(error)
    return reason
