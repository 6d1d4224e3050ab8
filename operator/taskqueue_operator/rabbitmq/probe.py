"""The ready count of queues by AMQP passive declare: exact at once, but a queue without a leader says 0."""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime
from typing import Final

from aiormq.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import AMQPError, ChannelAccessRefused, ChannelNotFoundEntity

from taskqueue_operator.scaling.reading import Probe

from . import faults
from .endpoint import Endpoint
from .line import Line

CHANNELS: Final = 32
"""In flight at once. The broker answers each channel in order, so a queue that is slow to answer holds up its own."""
SLOW_CHANNELS: Final = 64
"""The same for queues that are known to be slow."""
PROMPT_SECONDS: Final = 0.2
"""What a round waits for one queue; a quorum queue whose leader is silent answers, 0, after 0.25 s."""
SLOW_SECONDS: Final = 10.0
"""What a slow queue may take until it makes room for the next; a question that is given up may cost the broker a
channel until the queue answers, so not less."""
ROUND_SECONDS: Final = 2.0


class Prober:
    """Asks many queues over one connection."""

    def __init__(self, endpoint: Endpoint, line: Line, clock: Callable[[], datetime]) -> None:
        self._endpoint = endpoint
        self._line = line
        self._clock = clock
        self._session: _Session | None = None

    async def probe(self, queues: Collection[str]) -> Mapping[str, Probe]:
        """Ask for the ready count of each queue; the answer of a slow one is that to an earlier question, or left out.

        Raises:
            BrokerFault: There is no connection.
        """
        if not queues:
            return {}
        connection = await self._line.connection()
        if self._session is None or self._session.connection is not connection:
            self.close()
            self._session = _Session(self._endpoint, connection, self._clock)
        answers = await self._session.ask(queues)
        if answers:
            self._line.proven()
        else:
            await self._line.suspect()
        return answers

    def close(self) -> None:
        """Wait for no more answers."""
        if self._session is not None:
            self._session.close()


class _Session:
    """One connection, and which queues are slow there.

    A round asks the others and waits a moment for each. A slow queue is asked apart, by as many channels again, and
    is believed to be slow until it answers promptly: so silence never delays those that speak.
    """

    def __init__(self, endpoint: Endpoint, connection: AbstractConnection, clock: Callable[[], datetime]) -> None:
        self.connection = connection
        self._endpoint = endpoint
        self._clock = clock
        self._idle: list[AbstractChannel] = []
        self._slots = asyncio.Semaphore(CHANNELS)
        self._slow_slots = asyncio.Semaphore(SLOW_CHANNELS)
        self._slow: set[str] = set()
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._late: dict[str, Probe] = {}
        self._asked: dict[str, float] = {}

    async def ask(self, queues: Collection[str]) -> Mapping[str, Probe]:
        """Ask the prompt ones and wait; have the slow ones asked, and give what they have answered since."""
        for queue in self._slow.intersection(queues) - self._asking.keys():
            self._asking[queue] = asyncio.create_task(self._ask_slow(queue), name=f"probe {queue}")
        # Who has waited longest comes first: a round may have no time for all.
        pending = iter(sorted((each for each in queues if each not in self._slow), key=self._last_asked))
        answers: dict[str, Probe] = {}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ROUND_SECONDS), asyncio.TaskGroup() as group:
                for _ in range(min(CHANNELS, len(queues))):
                    group.create_task(self._ask_prompt(pending, answers))
        return {queue: self._late.pop(queue) for queue in self._late.keys() & set(queues)} | answers

    def close(self) -> None:
        """Wait for no more answers."""
        for task in self._asking.values():
            task.cancel()

    def _last_asked(self, queue: str) -> float:
        return self._asked.get(queue, 0.0)

    async def _ask_prompt(self, queues: Iterator[str], answers: dict[str, Probe]) -> None:
        for queue in queues:
            async with self._slots:
                await self._ask(queue, PROMPT_SECONDS, answers)

    async def _ask_slow(self, queue: str) -> None:
        try:
            async with self._slow_slots:
                await self._ask(queue, SLOW_SECONDS, self._late)
        finally:
            del self._asking[queue]

    async def _ask(self, queue: str, seconds: float, answers: dict[str, Probe]) -> None:
        begun, prompt = _now(), False
        # No answer, or no sensible one: whether the others have one is theirs to find out.
        with contextlib.suppress(TimeoutError, AMQPError, OSError, RuntimeError):
            async with asyncio.timeout(seconds):
                answers[queue] = await self._declare(queue)
            prompt = _now() - begun <= PROMPT_SECONDS
        self._asked[queue] = _now()
        (self._slow.discard if prompt else self._slow.add)(queue)

    async def _declare(self, queue: str) -> Probe:
        channel = self._take_idle() or await self.connection.channel(publisher_confirms=False)
        at = self._clock()
        try:
            answer = await channel.queue_declare(queue, passive=True)
        except ChannelNotFoundEntity:
            return Probe(at, None, missing=True)
        except ChannelAccessRefused:
            act = f'read the depth of queue "{queue}"'
            return Probe(at, None, fault=faults.forbidden(self._endpoint, self._endpoint.username, act))
        # Only now: a channel that was refused or given up is closed.
        self._idle.append(channel)
        return Probe(at, answer.message_count)

    def _take_idle(self) -> AbstractChannel | None:
        while self._idle:
            channel = self._idle.pop()
            if not channel.is_closed:
                return channel
        return None


def _now() -> float:
    return asyncio.get_running_loop().time()
