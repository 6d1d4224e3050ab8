"""When queues are read: in rounds that neither drift nor pile up, cut into batches that spread the load."""

import math
from collections import defaultdict
from collections.abc import Collection
from typing import Final
from zlib import crc32

from taskqueue_operator.control.clock import now, sleep_until

GOLDEN_RATIO: Final = 0.618034
"""Multiples of it, without their whole part, are spread evenly, however many there are."""
BATCH_INTERVAL_SECONDS: Final = 0.05
"""Shortest time between two batches of a round."""
BATCH_QUEUES: Final = 16
"""Queues of a batch on average, or more: a batch costs as much as several queues, so few queues are one batch."""


class Rounds:
    """Rounds that start one period after another, however long they take; a round that would be over is skipped.

    Attributes:
        started_at: When the present round started, in the loop's time.
    """

    def __init__(self, ahead: float = 0.0) -> None:
        """The first round counts as one that started so many seconds ago: the second one follows so much sooner."""
        self.started_at = now() - ahead

    async def next(self, period: float) -> None:
        """Wait for the start of the next round."""
        skipped = max(0, int((now() - self.started_at) / period) - 1)
        self.started_at += (1 + skipped) * period
        await sleep_until(self.started_at)


def spread(number: int) -> float:
    """Return which part of a period the rounds with this number are ahead: none for 0, less than half for all."""
    return number * GOLDEN_RATIO % 1 / 2


def batch_count(queues: int, period: float) -> int:
    """Return into how many batches a round of so many queues is cut, if each batch has some."""
    return min(max(1, round(period / BATCH_INTERVAL_SECONDS)), math.ceil(queues / BATCH_QUEUES))


def batches(queues: Collection[str], period: float) -> list[tuple[float, list[str]]]:
    """Cut a round into batches: seconds after its start, and the queues to read then.

    The slot of a queue follows from its name and is the same in every round. So a queue is read at equal intervals.
    """
    count = batch_count(len(queues), period)
    slots: defaultdict[int, list[str]] = defaultdict(list)
    for queue in queues:
        slots[int(_offset(queue) * count)].append(queue)
    return [(slot * period / count, slots[slot]) for slot in sorted(slots)]


def refresh_index(queue: str, period: float) -> int:
    """Count the periods; for each queue the next one starts at a moment of its own."""
    # Use an offset independent of the batch slot; otherwise all queues of a batch would refresh together.
    return int(now() / period + _offset(queue[::-1]))


def _offset(queue: str) -> float:
    """Spread queues over [0, 1)."""
    return crc32(queue.encode()) / (1 << 32)
