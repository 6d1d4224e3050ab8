"""Polls the consumers of a vhost, every few seconds and only while the snapshots are used."""

import asyncio
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


class ConsumerPoller:
    """Holds the last two snapshots, while they are used."""

    def __init__(self, read: Callable[[], Awaitable[ConsumerSnapshot]]) -> None:
        self._read = read
        self._snapshots: tuple[ConsumerSnapshot, ...] = ()
        self._used = asyncio.Event()
        self._used_at = 0.0

    def snapshots(self) -> tuple[ConsumerSnapshot, ...]:
        """Return the last snapshots, oldest first, and keep polling."""
        self._used_at = now()
        self._used.set()
        return self._snapshots

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
        self._snapshots = (*self._snapshots, await self._read())[-2:]
        return True
