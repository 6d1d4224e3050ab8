"""Polls the consumers of a vhost: every few seconds while workers are removed, else once a minute on request."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Final

from taskqueue_operator.control.clock import now
from taskqueue_operator.drain.consumers import ConsumerSnapshot

from .read_health import ReadHealth

SOURCE: Final = "consumers"
POLL_PERIOD_SECONDS: Final = 7.0
"""Time between two snapshots; a little more than MIN_SNAPSHOT_GAP, the least time between two that prove idleness."""
USE_SECONDS: Final = 5.0
"""How long polling continues after the snapshots were last used."""
SURVEY_PERIOD_SECONDS: Final = 60.0
"""Time between two single snapshots while no worker is removed."""


class ConsumerPoller:
    """Holds the last two snapshots, while they are used."""

    def __init__(self, read: Callable[[], Awaitable[ConsumerSnapshot]]) -> None:
        self._read = read
        self._snapshots: tuple[ConsumerSnapshot, ...] = ()
        self._used = asyncio.Event()
        self._used_at = -math.inf
        self._read_at = -math.inf
        self._last: ConsumerSnapshot | None = None

    def snapshots(self) -> tuple[ConsumerSnapshot, ...]:
        """Return the last snapshots, oldest first, and keep polling."""
        self._used_at = now()
        self._used.set()
        return self._snapshots

    def survey(self) -> ConsumerSnapshot | None:
        """Return the last snapshot, however old, and have another one read if it is older than a minute."""
        if now() - self._read_at > SURVEY_PERIOD_SECONDS:
            self._used.set()
        return self._last

    async def run(self, health: ReadHealth) -> None:
        """Poll until cancelled."""
        while True:
            await self._used.wait()
            await health.run(SOURCE, self._poll)
            await asyncio.sleep(POLL_PERIOD_SECONDS)
            if now() - self._used_at > USE_SECONDS:
                self._used.clear()
                self._snapshots = ()

    async def _poll(self) -> bool:
        self._read_at = now()
        self._last = await self._read()
        self._snapshots = (*self._snapshots, self._last)[-2:]
        return True
