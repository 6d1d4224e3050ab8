"""Looks at who is connected to a vhost, every few seconds and only while somebody asks."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from taskqueue_operator.drain.consumers import ConsumerSnapshot

from .read_health import ReadHealth

SIDE: Final = "look"
PERIOD: Final = 7.0
"""Seconds between two looks; what is concluded from two takes a little less."""
INTEREST: Final = 5.0
"""Seconds for which one question keeps looks going."""


class ConsumerPoller:
    """Keeps the last two looks, as long as somebody asks."""

    def __init__(self, look: Callable[[], Awaitable[ConsumerSnapshot]]) -> None:
        self._look = look
        self._looks: tuple[ConsumerSnapshot, ...] = ()
        self._asked = asyncio.Event()
        self._asked_at = 0.0

    def ask(self) -> tuple[ConsumerSnapshot, ...]:
        """Give the last looks, oldest first, and have more taken."""
        self._asked_at = now()
        self._asked.set()
        return self._looks

    async def run(self, attempts: ReadHealth) -> None:
        """Look until cancelled."""
        while True:
            await self._asked.wait()
            await attempts.run(SIDE, self._take)
            await asyncio.sleep(PERIOD)
            if now() - self._asked_at > INTEREST:
                self._asked.clear()
                self._looks = ()

    async def _take(self) -> None:
        self._looks = (*self._looks, await self._look())[-2:]
