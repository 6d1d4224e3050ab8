"""The rate of status writes and Events of the whole process, and whose turn it is to write."""

import asyncio
from collections.abc import Callable
from typing import Final

from taskqueue_operator.control.clock import now, sleep_until
from taskqueue_operator.resource.names import Key

from .waiting_writes import Urgency, WaitingWrites

WRITES_PER_SECOND: Final = 20


class WriteBudget:
    """Gives turns to write. Keys that want to write wait in line, and `on_turn` is called with the next one.

    No call waits in here: a status is built when it is written, and not before.
    """

    def __init__(self, on_turn: Callable[[Key], None], per_second: float = WRITES_PER_SECOND) -> None:
        self._on_turn = on_turn
        self._interval = 1 / per_second
        self._waiting = WaitingWrites()
        self._turns: set[Key] = set()
        self._free_at = 0.0
        self._wanted = asyncio.Event()

    def __contains__(self, key: object) -> bool:
        """Whether a key waits for its turn, or has it."""
        return key in self._turns or key in self._waiting

    def take(self, key: Key, urgency: Urgency) -> bool:
        """Use the turn of a key. If it has none, and there is none to spare, let it wait and return False."""
        if key in self._turns:
            self._turns.discard(key)
            return True
        if not self._waiting and self._free_at <= now():
            self._free_at = now() + self._interval
            return True
        self._waiting.add(key, urgency)
        self._wanted.set()
        return False

    def withdraw(self, key: Key) -> None:
        """Record that a key has nothing to write any more."""
        self._turns.discard(key)
        self._waiting.discard(key)

    async def run(self) -> None:
        """Give turns until cancelled."""
        while True:
            await self._wanted.wait()
            await sleep_until(self._free_at)
            key = self._waiting.pop()
            if key is None:
                self._wanted.clear()
                continue
            self._free_at = now() + self._interval
            self._turns.add(key)
            self._on_turn(key)
