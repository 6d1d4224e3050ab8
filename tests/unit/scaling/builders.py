"""Builders of times, readings, memories and sweeps for tests."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from taskqueue_operator.scaling.memory import Memory, Recommendation
from taskqueue_operator.scaling.reading import Doubt, Reading, Sweep

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def certain(ready: int, unacked: int = 0, *, now: float = 0) -> Reading:
    return Reading(at(now), ready, ready, unacked, held_at_least=unacked)


def doubtful(at_least: int | None, doubt: Doubt = Doubt.ABSENT, *, unacked: int | None = None) -> Reading:
    return Reading(at(0), at_least, None, unacked, doubt)


def settled(recommended: int, *, busy: float = 0, replicas: int | None = None, **fields: Any) -> Memory:  # noqa: ANN401  the fields of Memory
    """A memory that is older than any window, with `recommended` as the only recommendation."""
    recommendations = (Recommendation(at(-1), recommended),)
    memory = Memory(began=at(-7200), highs=recommendations, lows=recommendations, busy_at=at(busy), read_at=at(-1))
    if replicas is not None:
        memory = replace(memory, at=at(-1), replicas=replicas)
    return replace(memory, **fields)


def sweeps(*ready: int, unacked: int = 0, end: float = 0) -> list[Sweep]:
    """Sweeps with a period of 5 s, the last one at `end`."""
    begin = end - 5 * (len(ready) - 1)
    return [
        Sweep(at(begin + 5 * n), present=True, running=True, ready=figure, unacked=unacked)
        for n, figure in enumerate(ready)
    ]
