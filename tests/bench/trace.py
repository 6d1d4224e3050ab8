"""Tasks as applications have them: in bursts, with a trickle behind each, and durations with a heavy tail."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

SHORTEST_SECONDS: Final = 0.05
LONGEST_SECONDS: Final = 60.0
TAIL: Final = 0.6
"""Exponent of the Pareto distribution, cut off at the longest: the mean is 1.2 s, one task in 130 takes above 30 s."""

RUSH: Final = 0.8
"""Share of a burst that comes at once; the rest trickles in, so that tasks arrive while workers step aside."""
RUSH_SECONDS: Final = 3.0
TRICKLE: Final = 0.4
"""Share of the time between two bursts for which that goes on."""


class Task(NamedTuple):
    """When it is published, in seconds from the beginning, and how long it takes."""

    at: float
    seconds: float


@dataclass(frozen=True)
class Rhythm:
    """So many tasks every so many seconds, the first of them after `phase` seconds."""

    burst: int
    period: float
    phase: float = 0


def trace(rhythm: Rhythm, bursts: int, chance: random.Random) -> list[Task]:
    """List the tasks of that many bursts in the order in which they come; chance says which are the long ones."""
    starts = (rhythm.phase + number * rhythm.period for number in range(bursts))
    moments = sorted(start + offset for start in starts for offset in _offsets(rhythm, chance))
    shares = [(place + 0.5) / len(moments) for place in range(len(moments))]  # few tasks have a tail as well
    chance.shuffle(shares)
    return [Task(at, duration(share)) for at, share in zip(moments, shares, strict=True)]


def duration(share: float) -> float:
    """Tell, in seconds, what this share of all tasks does not exceed."""
    least = (SHORTEST_SECONDS / LONGEST_SECONDS) ** TAIL
    return float(SHORTEST_SECONDS * (1 - share * (1 - least)) ** (-1 / TAIL))


def _offsets(rhythm: Rhythm, chance: random.Random) -> Iterator[float]:
    rush = round(rhythm.burst * RUSH)
    for number in range(rhythm.burst):
        yield chance.uniform(0, RUSH_SECONDS if number < rush else rhythm.period * TRICKLE)
