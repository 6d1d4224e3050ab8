"""The ready count of queues by AMQP passive declare: exact at once, but a queue without a leader says 0."""

import asyncio
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

from aiormq.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import AMQPError, ChannelAccessRefused, ChannelNotFoundEntity

from taskqueue_operator.scaling.reading import Probe

from . import faults
from .endpoint import Endpoint
from .line import Line

CHANNELS: Final = 16
"""In flight at once. The broker answers each channel in order, so a queue that is slow to answer holds up its own."""
DECLARE_SECONDS: Final = 2.0
ROUND_SECONDS: Final = 6.0


class Prober:
    """Asks many queues over one connection; channels are kept for the next round."""

    def __init__(self, endpoint: Endpoint, line: Line) -> None:
        self._endpoint = endpoint
        self._line = line
        self._idle: list[AbstractChannel] = []
        self._slots = asyncio.Semaphore(CHANNELS)

    async def probe(self, queues: Collection[str]) -> Mapping[str, Probe]:
        """Ask for the ready count of each queue; those that did not answer in time are left out.

        Raises:
            BrokerFault: There is no connection, or the user may ask none of the queues.
        """
        if not queues:
            return {}
        round_ = _Round(iter(queues))
        connection = await self._line.connection()
        try:
            async with asyncio.timeout(ROUND_SECONDS), asyncio.TaskGroup() as group:
                for _ in range(min(CHANNELS, len(queues))):
                    group.create_task(self._ask(connection, round_))
        except TimeoutError:
            pass
        if round_.answers:
            self._line.proven()
        elif round_.refused:
            act = f'read the depth of queue "{round_.refused[0]}"'
            raise faults.forbidden(self._endpoint, self._endpoint.username, act)
        else:
            await self._line.suspect()
        return round_.answers

    async def _ask(self, connection: AbstractConnection, round_: "_Round") -> None:
        for queue in round_.pending:
            async with self._slots:
                try:
                    async with asyncio.timeout(DECLARE_SECONDS):
                        ready = await self._declare(connection, queue)
                    round_.answers[queue] = Probe(datetime.now(UTC), ready)
                except ChannelNotFoundEntity:
                    round_.answers[queue] = Probe(datetime.now(UTC), None, missing=True)
                except ChannelAccessRefused:
                    round_.refused.append(queue)
                except (TimeoutError, AMQPError, RuntimeError):
                    # This queue has no answer; whether the others have is theirs to find out.
                    continue

    async def _declare(self, connection: AbstractConnection, queue: str) -> int | None:
        channel = self._take_idle(connection) or await connection.channel(publisher_confirms=False)
        answer = await channel.queue_declare(queue, passive=True)
        # Only after an answer: a channel that was refused or timed out is closed.
        self._idle.append(channel)
        return answer.message_count

    def _take_idle(self, connection: AbstractConnection) -> AbstractChannel | None:
        while self._idle:
            channel = self._idle.pop()
            if channel.connection is connection and not channel.is_closed:
                return channel
        return None


class _Round:
    """What the channels of one round share."""

    def __init__(self, pending: Iterator[str]) -> None:
        self.pending = pending
        self.answers: dict[str, Probe] = {}
        self.refused: list[str] = []
