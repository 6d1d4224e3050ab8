"""Records the attempts of suspects, and cancels those that do not begin, so that each attempt counts once."""

import asyncio
import random
from dataclasses import replace

from .attempts import Attempt, AttemptState
from .bounds import RETURN_PAUSE_SECONDS
from .delivery import Delivery
from .delivery_buffer import DeliveryBuffer
from .settlement import Settlement


def runs_alone(delivery: Delivery) -> bool:
    """Return whether the message is a suspect whose next attempt is recorded."""
    return delivery.attempt.state is AttemptState.RECORDED


class Suspects:
    """What a worker does with suspects, and with returned messages, which may be suspects."""

    def __init__(self, settlement: Settlement, buffer: DeliveryBuffer[Delivery]) -> None:
        """`settlement` publishes copies, `buffer` holds the messages of the worker."""
        self._settlement = settlement
        self._buffer = buffer

    async def record_next(self, delivery: Delivery) -> None:
        """Record the next attempt of a message that came back. Where that is impossible, it runs alone, unrecorded."""
        if not delivery.is_returned:
            # Another worker gave it back, because a suspect runs there. Without a pause the two workers could exchange
            # it for as long as that takes.
            await asyncio.sleep(RETURN_PAUSE_SECONDS * random.random())  # noqa: S311 - spreads load
        if await self._settlement.record_next(delivery):
            return
        if self._settlement.stopping.is_set() or delivery.is_lost:
            await delivery.requeue()
        else:
            unrecorded = Attempt(delivery.attempt.number + 1, AttemptState.RECORDED, is_copy=True)
            self._buffer.add_first(replace(delivery, attempt=unrecorded))

    async def cancel_others(self) -> None:
        """Give back the other suspects before one runs: if it ends this process, their attempts have not begun."""
        suspects = self._buffer.take(runs_alone)
        await asyncio.gather(*(self._settlement.cancel_attempt(suspect) for suspect in suspects))
        for suspect in suspects:
            self._buffer.release(suspect)

    async def return_unstarted(self, delivery: Delivery) -> None:
        """Return a message whose task does not begin here; of a suspect, its recorded attempt does not count then."""
        if runs_alone(delivery):
            await self._settlement.cancel_attempt(delivery)
        else:
            await delivery.requeue()
