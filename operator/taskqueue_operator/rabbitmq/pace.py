"""How fast an AMQP connection is read."""

import asyncio

from taskqueue_operator.resource.bounds import AMQP_BYTES_PER_SECOND, AMQP_FRAMES_PER_SECOND

from .clock import loop_time


class Pace:
    """Delays a reader that has read too much in a short time; meanwhile the peer has to wait."""

    def __init__(self) -> None:
        self._free_at = 0.0

    async def wait(self, read: int, frames: int) -> None:
        """Wait, after so many bytes and frames were read, until more may be read. A second's worth is free."""
        now = loop_time()
        seconds = max(read / AMQP_BYTES_PER_SECOND, frames / AMQP_FRAMES_PER_SECOND)
        self._free_at = max(self._free_at, now - 1) + seconds
        if self._free_at > now:
            await asyncio.sleep(self._free_at - now)
