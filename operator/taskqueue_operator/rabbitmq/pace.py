"""How fast the process works on what peers send: each within its own allowance, beyond that in turns by namespace.

A peer may send without end what costs it nothing: heartbeats, chunks of one byte, informational answers. The unit of
work is what takes time: a read of HTTP, `WORK_LINES` of it, a frame of AMQP that no one has asked for, `WORK_BYTES`.
"""

import asyncio

from taskqueue_operator.resource import bounds
from taskqueue_operator.resource.allowance import Allowance

from .clock import loop_time
from .turns import Turns


def work_turns(per_second: float) -> Turns:
    """Return the turns for the work of all peers that exceed their allowances, together."""
    return Turns(per_second / bounds.WORK_PER_TURN)


class Pace:
    """The work for one peer, which counts for a namespace."""

    def __init__(self, turns: Turns, namespace: str) -> None:
        self._turns = turns
        self._namespace = namespace
        self._allowance = Allowance(per_second=bounds.PEER_WORK_PER_SECOND, at_once=bounds.PEER_WORK_AT_ONCE)
        self._unpaid = 0.0
        self._stretch = 0.0

    async def wait(self, *, units: float, read: int) -> None:
        """Wait until further work may be done, after so many units and bytes. Other tasks run after each stretch."""
        self._unpaid += units + read / bounds.WORK_BYTES
        while self._unpaid >= bounds.WORK_PER_TURN:
            self._unpaid -= bounds.WORK_PER_TURN
            if not self._allowance.take(loop_time(), bounds.WORK_PER_TURN):
                await self._turns.wait(self._namespace)
                continue
            self._stretch += bounds.WORK_PER_TURN
            if self._stretch >= bounds.WORK_PER_STRETCH:
                self._stretch = 0.0
                await asyncio.sleep(0)
