"""Tasks in the pattern of real applications: bursts with a trickle behind each, and durations with a heavy tail."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

SHORTEST_SECONDS: Final = 0.05
LONGEST_SECONDS: Final = 60.0
TAIL_EXPONENT: Final = 0.6
"""Of the Pareto distribution, truncated at the longest: the mean is 1.2 s, one task in 130 takes above 30 s."""

RUSH_SHARE: Final = 0.8
"""Share of a burst that arrives at once; the rest trickles in, so that tasks arrive while workers drain."""
RUSH_SECONDS: Final = 3.0
TRICKLE_SHARE: Final = 0.4
"""Share of the time between two bursts during which the rest arrives."""


class Task(NamedTuple):
    """When a task is published, in seconds from the start, and how many seconds it takes."""

    at: float
    seconds: float


@dataclass(frozen=True)
class Rhythm:
    """A burst of `burst` tasks every `period` seconds, the first after `phase` seconds."""

    burst: int
    period: float
    phase: float = 0
    tail: float = TAIL_EXPONENT
    """Of the durations."""


def workload(rhythm: Rhythm, bursts: int, random_source: random.Random) -> list[Task]:
    """List the tasks of `bursts` bursts in the order of their publication; which of them are long is random."""
    starts = (rhythm.phase + number * rhythm.period for number in range(bursts))
    moments = sorted(start + offset for start in starts for offset in _offsets(rhythm, random_source))
    shares = [(rank + 0.5) / len(moments) for rank in range(len(moments))]  # few tasks have a tail as well
    random_source.shuffle(shares)
    return [Task(at, duration(share, rhythm.tail)) for at, share in zip(moments, shares, strict=True)]


def duration(share: float, tail: float = TAIL_EXPONENT) -> float:
    """Return the duration, in seconds, that this share of all tasks does not exceed."""
    least = (SHORTEST_SECONDS / LONGEST_SECONDS) ** tail
    return float(SHORTEST_SECONDS * (1 - share * (1 - least)) ** (-1 / tail))


def _offsets(rhythm: Rhythm, random_source: random.Random) -> Iterator[float]:
    rush = round(rhythm.burst * RUSH_SHARE)
    for number in range(rhythm.burst):
        yield random_source.uniform(0, RUSH_SECONDS if number < rush else rhythm.period * TRICKLE_SHARE)
