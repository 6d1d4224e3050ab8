"""The ready count of queues by AMQP passive declare: exact at once, but a queue without a leader says 0."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import Final

from taskqueue_operator.scaling.reading import Probe

from . import faults
from .connection import Asked, Connection
from .endpoint import Endpoint
from .line import Line

TOGETHER: Final = 256
"""Questions on one channel at once, of queues that are believed to answer."""
ALONE: Final = 64
"""Queues that are asked on a channel of their own, at once: who asks one that is missing loses the channel."""
SLOW: Final = 64
"""The same for queues that are known to be slow."""
PROMPT_SECONDS: Final = 0.2
"""What a round waits for one queue; a quorum queue whose leader is silent answers, 0, after 0.25 s."""
SLOW_SECONDS: Final = 10.0
"""What a slow queue may take until it makes room for the next."""
ROUND_SECONDS: Final = 2.0
AGAIN_SECONDS: Final = 1.0
"""A queue that is missing or may not be read is asked again after this time: the broker logs each refusal."""


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
    """One connection, and which queues are trusted, slow or refused there.

    The broker answers each channel in order, and closes it when a queue is missing: so only queues that have answered
    promptly share one. Whatever a shared channel did not answer is asked alone, and is trusted again when it answers
    promptly there. No queue is asked while an earlier question to it is under way: one that is silent for ever costs
    one channel, and silence never delays those that speak.
    """

    def __init__(self, endpoint: Endpoint, connection: Connection, clock: Callable[[], datetime]) -> None:
        self.connection = connection
        self._endpoint = endpoint
        self._clock = clock
        self._trusted: set[str] = set()
        self._slow: set[str] = set()
        self._refused: dict[str, Probe] = {}
        self._asking: set[str] = set()
        self._answers: dict[str, Probe] = {}
        self._slots = asyncio.Semaphore(ALONE)
        self._slow_slots = asyncio.Semaphore(SLOW)
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, queues: Collection[str]) -> Mapping[str, Probe]:
        """Ask and wait for all but the slow ones; give what has been answered, also to earlier questions."""
        await self._ask_together([queue for queue in queues if queue in self._trusted and queue not in self._asking])
        waited = []
        for queue in queues:
            if queue in self._refused:
                self._answers[queue] = self._refused[queue]
            elif queue not in self._trusted and queue not in self._asking:
                task = self._start(queue)
                waited += [task] if queue not in self._slow else []
        if waited:
            await asyncio.wait(waited, timeout=ROUND_SECONDS)
        return {queue: self._answers.pop(queue) for queue in queues if queue in self._answers}

    def close(self) -> None:
        """Wait for no more answers."""
        for task in self._tasks:
            task.cancel()

    async def _ask_together(self, queues: Sequence[str]) -> None:
        if not queues:
            return
        self._asking.update(queues)
        at = self._clock()
        asked = [self.connection.ask(queues[n : n + TOGETHER]) for n in range(0, len(queues), TOGETHER)]
        await _wait((each.done for each in asked), PROMPT_SECONDS)
        self._asking.difference_update(queues)
        for each in asked:
            self._note(each, at)
            self._trusted.difference_update(each.left)
            if not each.done.done():
                self._slow.add(each.left[0])

    def _start(self, queue: str) -> asyncio.Task[None]:
        self._asking.add(queue)
        task = asyncio.create_task(self._ask_alone(queue), name=f"probe {queue}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _ask_alone(self, queue: str) -> None:
        slow = queue in self._slow
        async with self._slow_slots if slow else self._slots:
            asked = self.connection.ask([queue])
            asked.done.add_done_callback(partial(self._answered, queue, asked, self._clock()))
            prompt = await _wait([asked.done], PROMPT_SECONDS)
            (self._slow.discard if prompt else self._slow.add)(queue)
            if prompt and queue in asked.ready:
                self._trusted.add(queue)
            elif slow and not prompt:
                await _wait([asked.done], SLOW_SECONDS)

    def _answered(self, queue: str, asked: Asked, at: datetime, _: object) -> None:
        self._asking.discard(queue)
        self._note(asked, at)

    def _note(self, asked: Asked, at: datetime) -> None:
        self._answers |= {queue: Probe(at, ready) for queue, ready in asked.ready.items()}
        if asked.refusal is not None:
            queue, probe = asked.left[0], self._refusal(asked.left[0], *asked.refusal, at)
            self._answers[queue] = self._refused[queue] = probe
            asyncio.get_running_loop().call_later(AGAIN_SECONDS, self._refused.pop, queue, None)

    def _refusal(self, queue: str, code: int, words: str, at: datetime) -> Probe:
        if code == HTTPStatus.NOT_FOUND:
            return Probe(at, None, missing=True)
        act = f'read the depth of queue "{queue}"'
        if code == HTTPStatus.FORBIDDEN:
            return Probe(at, None, fault=faults.forbidden(self._endpoint, self._endpoint.username, act))
        return Probe(at, None, fault=faults.refused(self._endpoint, act, words))


async def _wait(answers: Iterable["asyncio.Future[None]"], seconds: float) -> bool:
    """Wait for all of them; in two halves, so that what came while the loop was busy elsewhere counts as in time."""
    pending = set(answers)
    for _ in range(2):
        if pending:
            _, pending = await asyncio.wait(pending, timeout=seconds / 2)
    return not pending
