"""The ready count of queues by AMQP passive declare: exact at once, but a queue without a leader says 0."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import Final

from taskqueue_operator.scaling.reading import Probe

from . import faults
from .endpoint import Endpoint
from .negative_cache import NegativeCache
from .probe_connection import ProbeBatch, ProbeConnection
from .reconnect import Reconnector, now

PIPELINE_DEPTH: Final = 256
"""Questions on one channel at once, of queues that are believed to answer."""
MAX_SINGLE_QUEUE_CHANNELS: Final = 64
"""Queues that are asked on a channel of their own, at once: who asks one that is missing loses the channel."""
MAX_SLOW_CHANNELS: Final = 64
"""The same for queues that are known to be slow."""
PROMPT_SECONDS: Final = 0.2
"""What a round waits for one queue; a quorum queue whose leader is silent answers, 0, after 0.25 s."""
SLOW_SECONDS: Final = 10.0
"""What a slow queue may take until it makes room for the next."""
ROUND_SECONDS: Final = 2.0
FORGET_SECONDS: Final = 60.0
"""What is known of a queue is forgotten when nobody has asked for so long; the longest round takes less."""


class Prober:
    """Asks many queues over one connection."""

    def __init__(self, endpoint: Endpoint, line: Reconnector, clock: Callable[[], datetime]) -> None:
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
        session, begun = self._session, now()
        answers = await session.ask(queues)
        refused = session.refusals.standing(queues, now())
        if answers:
            self._line.proven(connection)
        elif len(refused) < len(queues):
            self._line.suspect(connection, begun)
        return {**refused, **answers}

    def found(self, queues: Collection[str]) -> None:
        """Say that these queues exist: those that were missing are asked with the next probe."""
        if self._session is not None:
            self._session.refusals.found(queues)

    def close(self) -> None:
        """Wait for no more answers."""
        if self._session is not None:
            self._session.close()


class _Session:
    """One connection, and which queues it finds trusted, slow or refused.

    The broker answers what is asked on a channel in order, and closes the channel when a queue is missing: so only
    queues that have answered promptly share one. A queue that has not answered on a shared channel is asked on one of
    its own, and is trusted again once it answers promptly there. No queue is asked while an earlier question to it is
    under way: one that stays silent costs a channel, and delays nobody.
    """

    def __init__(self, endpoint: Endpoint, connection: ProbeConnection, clock: Callable[[], datetime]) -> None:
        self.connection = connection
        self.refusals = NegativeCache()
        self._endpoint = endpoint
        self._clock = clock
        self._trusted: set[str] = set()
        self._slow: set[str] = set()
        self._asking: set[str] = set()
        self._answers: dict[str, Probe] = {}
        self._slots = asyncio.Semaphore(MAX_SINGLE_QUEUE_CHANNELS)
        self._slow_slots = asyncio.Semaphore(MAX_SLOW_CHANNELS)
        self._tasks: set[asyncio.Task[None]] = set()
        self._followed: set[str] = set()
        self._forget_at = now() + FORGET_SECONDS

    async def ask(self, queues: Collection[str]) -> Mapping[str, Probe]:
        """Ask all but the refused and wait for all but the slow; give what was answered, to earlier questions too."""
        self._remember(queues)
        await self._ask_together([queue for queue in queues if queue in self._trusted and queue not in self._asking])
        refused = self.refusals.standing(queues, now())
        waited = []
        for queue in queues:
            if queue not in self._trusted and queue not in self._asking and queue not in refused:
                task = self._start(queue)
                waited += [task] if queue not in self._slow else []
        if waited:
            await asyncio.wait(waited, timeout=ROUND_SECONDS)
        return {queue: self._answers.pop(queue) for queue in queues if queue in self._answers}

    def close(self) -> None:
        """Wait for no more answers."""
        for task in self._tasks:
            task.cancel()

    def _remember(self, queues: Collection[str]) -> None:
        """Take note of who is asked; now and then, whatever nobody has asked since the last time is forgotten."""
        self._followed.update(queues)
        if now() < self._forget_at:
            return
        self._trusted &= self._followed
        self._slow &= self._followed
        self._answers = {queue: probe for queue, probe in self._answers.items() if queue in self._followed}
        self.refusals.keep(self._followed)
        self._followed.clear()
        self._forget_at = now() + FORGET_SECONDS

    async def _ask_together(self, queues: Sequence[str]) -> None:
        if not queues:
            return
        self._asking.update(queues)
        at = self._clock()
        asked = [self.connection.ask(queues[n : n + PIPELINE_DEPTH]) for n in range(0, len(queues), PIPELINE_DEPTH)]
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

    def _answered(self, queue: str, asked: ProbeBatch, at: datetime, _: object) -> None:
        self._asking.discard(queue)
        self._note(asked, at)
        if queue in asked.ready:
            self.refusals.answered(queue)

    def _note(self, asked: ProbeBatch, at: datetime) -> None:
        self._answers |= {queue: Probe(at, ready) for queue, ready in asked.ready.items()}
        if asked.refusal is not None:
            queue, probe = asked.left[0], self._refusal(asked.left[0], *asked.refusal, at)
            self._answers[queue] = probe
            self.refusals.note(queue, probe, now())

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
