"""Streams of server-sent events: their number and their length are limited."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from taskqueue_worker.results import TaskStatus
from taskqueue_worker.stores import StoreUnavailableError

STREAM_SECONDS: Final = 600
"""Longest stream. Browsers open the next one by themselves."""
MOST_STREAMS: Final = int(os.environ.get("MOST_STREAMS", "200"))
"""Most streams of this process: each reads Redis twice a second."""
MOST_STREAMS_OF_A_CLIENT: Final = int(os.environ.get("MOST_STREAMS_OF_A_CLIENT", "10"))


class NoPlaceError(Exception):
    """There are as many streams as there may be."""


class Places:
    """The places of open streams."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    @contextmanager
    def taken(self, client: str) -> Iterator[None]:
        """Take one place of a client.

        Raises:
            NoPlaceError: It has all of its places, or there is none.
        """
        if self._open.total() >= MOST_STREAMS or self._open[client] >= MOST_STREAMS_OF_A_CLIENT:
            raise NoPlaceError
        self._open[client] += 1
        try:
            yield
        finally:
            self._open[client] -= 1
            self._open += Counter()  # forget clients without a stream


async def limited(changes: AsyncIterator[TaskStatus]) -> AsyncIterator[TaskStatus]:
    """Yield changes until they end, Redis does not answer, or the stream is long enough."""
    end = asyncio.get_running_loop().time() + STREAM_SECONDS
    with suppress(StopAsyncIteration, StoreUnavailableError, TimeoutError):
        while True:
            async with asyncio.timeout_at(end):
                status = await anext(changes)
            yield status
