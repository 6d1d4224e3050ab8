"""Returns dead letters to their queues: at least once each, and at most one of them twice when the process is killed.

A copy is published and confirmed before its dead letter is acknowledged, one after the other. A process that is killed
has lost nothing, and the next one continues with what is left: at most one message is in both queues.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Generic

from taskqueue_operator.dead_letters.destination import Destinations, Kept, returning_headers
from taskqueue_operator.dead_letters.selection import Selection

from .operations import until
from .ports import D, DeadLetterQueue

PASS_SECONDS: Final = 600.0
"""After this time, messages that stay return to the queue, and the queue is read again from its beginning. Shorter than
the consumer timeout of RabbitMQ, 30 min, after which the broker would take them back."""
REFUSALS_IN_A_ROW: Final = 10
"""After so many copies that no queue accepted, one after the other, the redrive ends."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to redrive.

    Attributes:
        rate: Copies per second, at most.
        limit: How many messages that stay are held unacknowledged, at most.
    """

    selection: Selection
    destinations: Destinations
    rate: float
    limit: int


@dataclass(slots=True)
class Redriven:
    """What a redrive did.

    Attributes:
        ready: Messages that were in the queue when it began.
        redriven: Messages that returned to their queues.
        kept: Selected messages that stay, by reason.
        others: Messages that were read and are not selected.
        gave_up: Whether it ended early, because no queue accepted the copies.
    """

    ready: int = 0
    redriven: int = 0
    kept: Counter[Kept] = field(default_factory=Counter)
    others: int = 0
    gave_up: bool = False

    @property
    def selected(self) -> int:
        """How many of the messages that were read are selected."""
        return self.redriven + self.kept.total()

    @property
    def unread(self) -> int:
        """How many of the messages were not read."""
        return self.ready - self.selected - self.others


class Redrive(Generic[D]):
    """One redrive of one queue.

    Attributes:
        result: What it has done so far.
    """

    def __init__(
        self, queue: DeadLetterQueue[D], order: Order, stop: asyncio.Event, progress: Callable[[Redriven], None]
    ) -> None:
        """`progress` is called after each message that has returned."""
        self.result = Redriven()
        self._queue = queue
        self._order = order
        self._stop = stop
        self._progress = progress
        self._next_at = 0.0
        self._refusals = 0

    async def run(self) -> Redriven:
        """Redrive the messages that are in the queue now, each once: those that fail again come later.

        Raises:
            BrokerFault: The broker cannot be used. `result` says what was done before.
        """
        await self._queue.check_publishing()
        self.result.ready = await self._queue.ready()
        before = -1
        while self.result.redriven > before:
            before = self.result.redriven
            if await self._pass(self.result.ready - before):
                break
            await self._queue.release()
        await self._queue.ready()  # answered once the last acknowledgement is processed
        return self.result

    async def _pass(self, count: int) -> bool:
        """Read the queue once, and return whether all is done; otherwise the time is over."""
        result, ends_at = self.result, _now() + PASS_SECONDS
        result.kept.clear()
        result.others = 0
        async for delivery in until(self._stop, self._queue.deliveries(count, held=self._order.limit)):
            if self._order.selection.matches(delivery.letter):
                await self._return(delivery)
            else:
                result.others += 1
            if result.gave_up:
                return True
            if _now() >= ends_at and result.others + result.kept.total():
                return False
        return True

    async def _return(self, delivery: D) -> None:
        queue = self._order.destinations.of(delivery.letter)
        if isinstance(queue, Kept):
            self.result.kept[queue] += 1
            return
        await self._wait_for_turn()
        if self._stop.is_set():
            return
        headers = returning_headers(delivery.headers, delivery.letter)
        kept = await self._queue.redrive(delivery, queue, headers)
        if kept is None:
            self.result.redriven += 1
            self._refusals = 0
            self._progress(self.result)
        else:
            self.result.kept[kept] += 1
            self._refusals += kept in {Kept.UNROUTABLE, Kept.REFUSED}
            self.result.gave_up = self._refusals >= REFUSALS_IN_A_ROW

    async def _wait_for_turn(self) -> None:
        """Wait until the rate allows the next copy, or the user stops the command."""
        now = _now()
        with suppress(TimeoutError):
            if self._next_at > now:
                async with asyncio.timeout_at(self._next_at):
                    await self._stop.wait()
        self._next_at = max(now, self._next_at) + 1 / self._order.rate


def _now() -> float:
    return asyncio.get_running_loop().time()
