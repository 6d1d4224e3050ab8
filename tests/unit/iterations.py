"""Counts the iterations of the event loop: what runs in one of them holds the loop together."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Iterations:
    """How often something was recorded in each iteration."""

    def __init__(self) -> None:
        self.present = 0
        self._recorded = Counter[int]()

    def record(self) -> None:
        """Record that a piece of work ran in the present iteration."""
        self._recorded[self.present] += 1

    @property
    def total(self) -> int:
        """How many pieces of work ran."""
        return self._recorded.total()

    @property
    def most(self) -> int:
        """The most pieces of work of one iteration."""
        return max(self._recorded.values())


@contextmanager
def counted_iterations() -> Iterator[Iterations]:
    """Count iterations of the running loop while the context lasts."""
    iterations, loop = Iterations(), asyncio.get_running_loop()
    run_once: Any = loop._run_once  # type: ignore[attr-defined]

    def counted() -> None:
        iterations.present += 1
        run_once()

    loop._run_once = counted  # type: ignore[attr-defined]
    try:
        yield iterations
    finally:
        loop._run_once = run_once  # type: ignore[attr-defined]
