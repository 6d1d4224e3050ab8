"""When what is read: in rounds that neither drift nor pile up, and in portions small enough to be no burden."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from typing import Final
from zlib import crc32

TICK: Final = 0.05
"""Seconds between two portions of a round."""


class Plan:
    """Rounds that begin a period after one another, whatever they take; one that would be over already is left out."""

    def __init__(self) -> None:
        self.begin = now()

    async def next(self, period: float) -> None:
        """Wait for the begin of the next round."""
        missed = max(0, int((now() - self.begin) / period) - 1)
        self.begin += (1 + missed) * period
        await until(self.begin)


def portions(queues: Iterable[str], period: float) -> list[tuple[float, list[str]]]:
    """Cut a round: seconds after its begin, and what is to be read then.

    A queue has the same place in every round, which follows from its name: so it is read in equal steps, and those of
    all observers together are spread as well.
    """
    count = max(1, round(period / TICK))
    cut: defaultdict[int, list[str]] = defaultdict(list)
    for queue in queues:
        cut[int(phase(queue) * count)].append(queue)
    return [(place * period / count, cut[place]) for place in sorted(cut)]


def turn(queue: str, period: float) -> int:
    """Count the periods; the next one begins for each queue at a moment of its own."""
    # Not by the place in its round: each portion would have all its turns in one part of the period.
    return int(now() / period + phase(queue[::-1]))


def phase(queue: str) -> float:
    """Spread queues over [0, 1)."""
    return crc32(queue.encode()) / (1 << 32)


async def until(moment: float) -> None:
    """Wait for a moment of the loop's time; others have their turn even if it has passed."""
    await asyncio.sleep(max(0.0, moment - now()))


def now() -> float:
    """The running loop's time, in seconds."""
    return asyncio.get_running_loop().time()
