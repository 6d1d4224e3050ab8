"""Probes queues: reads their ready count by AMQP passive declare, exact and at once.

A queue without a leader answers 0.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import Final

from taskqueue_operator.scaling.reading import Probe

from . import faults
from .clock import loop_time
from .endpoint import Endpoint
from .negative_cache import NegativeCache
from .probe_connection import ProbeBatch, ProbeConnection
from .reconnect import Reconnector

PIPELINE_DEPTH: Final = 256
"""Probes in flight on one channel, of queues that answer promptly."""
MAX_SINGLE_QUEUE_CHANNELS: Final = 64
"""Channels at the same time for a single queue each: a probe of a missing queue closes its channel."""
MAX_SLOW_CHANNELS: Final = 64
"""The same for queues that are known to answer slowly."""
PROMPT_SECONDS: Final = 0.2
"""A prompt queue answers within this time; a quorum queue without a leader answers 0 after 0.25 s."""
SLOW_TIMEOUT_SECONDS: Final = 10.0
"""After this time a slow queue frees its slot for the next one."""
ROUND_TIMEOUT_SECONDS: Final = 2.0
FORGET_AFTER_SECONDS: Final = 60.0
"""Queues that have not been probed for this time are forgotten; the longest round is shorter."""


class Prober:
    """Probes many queues over one connection."""

    def __init__(self, endpoint: Endpoint, reconnector: Reconnector, clock: Callable[[], datetime]) -> None:
        self._endpoint = endpoint
        self._reconnector = reconnector
        self._clock = clock
        self._session: _Session | None = None

    async def probe(self, queues: Collection[str]) -> Mapping[str, Probe]:
        """Return the ready count of each queue.

        A slow queue is left out, or has the answer to an earlier probe.

        Raises:
            BrokerFault: There is no connection.
        """
        if not queues:
            return {}
        connection = await self._reconnector.connection()
        if self._session is None or self._session.connection is not connection:
            self.close()
            self._session = _Session(self._endpoint, connection, self._clock)
        session, started = self._session, loop_time()
        answers = await session.probe(queues)
        refusals = session.refusals.current(queues, loop_time())
        if answers:
            self._reconnector.record_success(connection)
        elif len(refusals) < len(queues):
            self._reconnector.record_timeout(connection, started)
        return {**refusals, **answers}

    def on_queues_found(self, queues: Collection[str]) -> None:
        """Probe these queues with the next round even if they were missing before: they exist."""
        if self._session is not None:
            self._session.refusals.on_queues_found(queues)

    def close(self) -> None:
        """Stop waiting for answers."""
        if self._session is not None:
            self._session.close()


class _Session:
    """One connection, and which queues are prompt, slow or refused on it.

    The broker answers the probes of a channel in order, and closes the channel if a queue is missing. So only queues
    that have answered promptly share a channel. A queue that has not answered on a shared channel is probed on one of
    its own, and shares again after a prompt answer there. A queue is never probed while an earlier probe of it is in
    flight: a silent queue costs one channel, and delays no other queue.
    """

    def __init__(self, endpoint: Endpoint, connection: ProbeConnection, clock: Callable[[], datetime]) -> None:
        self.connection = connection
        self.refusals = NegativeCache()
        self._endpoint = endpoint
        self._clock = clock
        self._prompt: set[str] = set()
        self._slow: set[str] = set()
        self._in_flight: set[str] = set()
        self._answers: dict[str, Probe] = {}
        self._slots = asyncio.Semaphore(MAX_SINGLE_QUEUE_CHANNELS)
        self._slow_slots = asyncio.Semaphore(MAX_SLOW_CHANNELS)
        self._tasks: set[asyncio.Task[None]] = set()
        self._recently_probed: set[str] = set()
        self._forget_at = loop_time() + FORGET_AFTER_SECONDS

    async def probe(self, queues: Collection[str]) -> Mapping[str, Probe]:
        """Probe all but the refused queues, wait for all but the slow ones, and return the answers so far."""
        self._forget_others(queues)
        await self._probe_together([name for name in queues if name in self._prompt and name not in self._in_flight])
        refused = self.refusals.current(queues, loop_time())
        awaited = []
        for queue in queues:
            if queue not in self._prompt and queue not in self._in_flight and queue not in refused:
                task = self._start(queue)
                awaited += [task] if queue not in self._slow else []
        if awaited:
            await asyncio.wait(awaited, timeout=ROUND_TIMEOUT_SECONDS)
        return {queue: self._answers.pop(queue) for queue in queues if queue in self._answers}

    def close(self) -> None:
        """Stop waiting for answers."""
        for task in self._tasks:
            task.cancel()

    def _forget_others(self, queues: Collection[str]) -> None:
        """Once per period, forget the queues that were not probed in it."""
        self._recently_probed.update(queues)
        if loop_time() < self._forget_at:
            return
        self._prompt &= self._recently_probed
        self._slow &= self._recently_probed
        self._answers = {queue: probe for queue, probe in self._answers.items() if queue in self._recently_probed}
        self.refusals.retain(self._recently_probed)
        self._recently_probed.clear()
        self._forget_at = loop_time() + FORGET_AFTER_SECONDS

    async def _probe_together(self, queues: Sequence[str]) -> None:
        """Probe prompt queues, many per channel; a queue that delays the others of its channel becomes slow."""
        if not queues:
            return
        self._in_flight.update(queues)
        at = self._clock()
        parts = (queues[start : start + PIPELINE_DEPTH] for start in range(0, len(queues), PIPELINE_DEPTH))
        batches = [self.connection.probe(part) for part in parts]
        await _wait((batch.done for batch in batches), PROMPT_SECONDS)
        self._in_flight.difference_update(queues)
        for batch in batches:
            self._record(batch, at)
            self._prompt.difference_update(batch.pending)
            if not batch.done.done():
                self._slow.add(batch.pending[0])

    def _start(self, queue: str) -> asyncio.Task[None]:
        self._in_flight.add(queue)
        task = asyncio.create_task(self._probe_alone(queue), name=f"probe {queue}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _probe_alone(self, queue: str) -> None:
        slow = queue in self._slow
        async with self._slow_slots if slow else self._slots:
            batch = self.connection.probe([queue])
            batch.done.add_done_callback(partial(self._on_done, queue, batch, self._clock()))
            prompt = await _wait([batch.done], PROMPT_SECONDS)
            (self._slow.discard if prompt else self._slow.add)(queue)
            if prompt and queue in batch.ready:
                self._prompt.add(queue)
            elif slow and not prompt:
                await _wait([batch.done], SLOW_TIMEOUT_SECONDS)

    def _on_done(self, queue: str, batch: ProbeBatch, at: datetime, _: object) -> None:
        self._in_flight.discard(queue)
        self._record(batch, at)
        if queue in batch.ready:
            self.refusals.discard(queue)

    def _record(self, batch: ProbeBatch, at: datetime) -> None:
        self._answers |= {
            queue: Probe(at, ready, consumers=batch.consumers[queue]) for queue, ready in batch.ready.items()
        }
        if batch.refusal is not None:
            queue = batch.pending[0]
            self._answers[queue] = self._refused_probe(queue, *batch.refusal, at)
            self.refusals.add(queue, self._answers[queue], loop_time())

    def _refused_probe(self, queue: str, code: int, text: str, at: datetime) -> Probe:
        if code == HTTPStatus.NOT_FOUND:
            return Probe(at, None, missing=True)
        operation = f'read the depth of queue "{queue}"'
        if code == HTTPStatus.FORBIDDEN:
            return Probe(at, None, fault=faults.forbidden(self._endpoint, self._endpoint.username, operation))
        return Probe(at, None, fault=faults.refused(self._endpoint, operation, text))


async def _wait(answers: Iterable["asyncio.Future[None]"], seconds: float) -> bool:
    """Wait for all answers. In two halves, so that an answer that arrives while the loop is busy still counts."""
    pending = set(answers)
    for _ in range(2):
        if pending:
            _, pending = await asyncio.wait(pending, timeout=seconds / 2)
    return not pending
