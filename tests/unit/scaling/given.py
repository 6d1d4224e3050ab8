"""Readings, memories and times in the words of the tests."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from taskqueue_operator.scaling.memory import Memory, Recommendation
from taskqueue_operator.scaling.reading import Doubt, Reading, Sweep

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def certain(ready: int, unacked: int = 0, *, now: float = 0) -> Reading:
    return Reading(at(now), ready, ready, unacked)


def doubtful(at_least: int | None, doubt: Doubt = Doubt.ABSENT, *, unacked: int | None = None) -> Reading:
    return Reading(at(0), at_least, None, unacked, doubt)


def settled(wanted: int, *, busy: float = 0, replicas: int | None = None, **more: Any) -> Memory:  # noqa: ANN401  the fields of Memory
    """A memory that has seen more than any window, in which only `wanted` was wanted."""
    one = (Recommendation(at(-1), wanted),)
    memory = Memory(began=at(-7200), highs=one, lows=one, busy_at=at(busy), read_at=at(-1))
    if replicas is not None:
        memory = replace(memory, at=at(-1), replicas=replicas)
    return replace(memory, **more)


def sweeps(*ready: int, unacked: int = 0, end: float = 0) -> list[Sweep]:
    """Sweeps every five seconds, the last one at `end`."""
    begin = end - 5 * (len(ready) - 1)
    return [
        Sweep(at(begin + 5 * n), present=True, running=True, ready=figure, unacked=unacked)
        for n, figure in enumerate(ready)
    ]
