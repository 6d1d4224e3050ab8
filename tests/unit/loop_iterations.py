"""Counts how often another task runs meanwhile: once in each iteration of the event loop."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Iterations:
    """Iterations of the event loop so far."""

    def __init__(self) -> None:
        self.count = 0

    async def run(self) -> None:
        """Count until cancelled."""
        while True:
            self.count += 1
            await asyncio.sleep(0)


@contextmanager
def counted_iterations() -> Iterator[Iterations]:
    """Count while the context lasts."""
    iterations = Iterations()
    counting = asyncio.create_task(iterations.run())
    try:
        yield iterations
    finally:
        counting.cancel()
