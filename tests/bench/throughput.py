"""How fast a worker does the tasks that wait in a queue, and the CPU that it uses for each of them."""

import itertools
import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final, NamedTuple
from uuid import uuid4

import aio_pika
from aio_pika.abc import AbstractChannel

from taskqueue_worker.payload import encode
from tests.bench.polling import eventually
from tests.bench.runtime import Runtime, Setting
from tests.bench.worker_process import WorkerProcess, worker_process
from tests.cluster.broker import Broker
from tests.e2e.application import NAME

WARM_UP_TASKS: Final = 1000
POLL_SECONDS: Final = 0.02
TIMEOUT_SECONDS: Final = 300
WORKER_CORE: Final = 0


class Sample(NamedTuple):
    """One run of a worker."""

    tasks_per_second: float
    cpu_us: float
    """CPU of all its processes for each task."""


class _Look(NamedTuple):
    """The queue and the worker at one moment."""

    ready: int
    at: float
    cpu_seconds: float


class Throughput:
    """Measures workers on one broker. The worker has one core, and everything else has the others."""

    def __init__(self, url: str, channel: AbstractChannel, directory: Path) -> None:
        self._url = url
        self._channel = channel
        self._directory = directory
        self._numbers = itertools.count()

    async def measure(self, runtime: Runtime, variables: Mapping[str, str], queue_type: str, tasks: int) -> Sample:
        """Fill the queue, start a worker, and measure from the end of its warm-up until the queue is nearly empty."""
        await self._fill(runtime, queue_type, WARM_UP_TASKS + tasks)
        # The variables set the prefetch.
        setting = Setting("late", variables, prefetch=1, prefetched=0, has_control=False)
        directory = self._directory / f"worker-{next(self._numbers)}"
        directory.mkdir()
        with ExitStack() as stack:
            with _on_cores({WORKER_CORE}):
                worker = stack.enter_context(worker_process(runtime, setting, self._url, directory, adapted=False))
            return await self._watch(worker, tasks)

    async def _watch(self, worker: WorkerProcess, tasks: int) -> Sample:
        first = last = await self._look(worker)

        async def is_empty() -> bool:
            nonlocal first, last
            look = await self._look(worker)
            if first.ready > tasks:
                first = look
            if look.ready:
                last = look
            return not look.ready

        await eventually(is_empty, "the tasks are done", seconds=TIMEOUT_SECONDS, every=POLL_SECONDS)
        done = first.ready - last.ready
        return Sample(done / (last.at - first.at), (last.cpu_seconds - first.cpu_seconds) / done * 1e6)

    async def _look(self, worker: WorkerProcess) -> _Look:
        queue = await self._channel.declare_queue(NAME, passive=True)
        return _Look(queue.declaration_result.message_count or 0, time.monotonic(), worker.cpu_seconds())

    async def _fill(self, runtime: Runtime, queue_type: str, tasks: int) -> None:
        await self._channel.declare_exchange("taskqueue.reports", "direct", durable=True)
        await self._channel.declare_queue(f"{NAME}.dlq", durable=True)
        await self._channel.queue_delete(NAME)
        await self._channel.declare_queue(NAME, durable=True, arguments={"x-queue-type": queue_type})
        for _ in range(tasks):
            await self._publish(runtime)
        await eventually(lambda: self._has(tasks), "the queue is full", seconds=TIMEOUT_SECONDS, every=POLL_SECONDS)

    async def _publish(self, runtime: Runtime) -> None:
        identity = uuid4().hex
        content = runtime.message(identity, 0)
        message = aio_pika.Message(
            encode(content.payload),
            headers=dict(content.headers),
            type="audited",
            message_id=identity,
            content_type="application/json",
            content_encoding="utf-8",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )
        await self._channel.default_exchange.publish(message, NAME)

    async def _has(self, messages: int) -> bool:
        queue = await self._channel.declare_queue(NAME, passive=True)
        return queue.declaration_result.message_count == messages


@asynccontextmanager
async def throughput(directory: Path) -> AsyncIterator[Throughput]:
    """Start a broker, beside this process, on the cores that the workers do not have."""
    cores = os.sched_getaffinity(0)
    with _on_cores(cores - {WORKER_CORE} or cores), Broker.start(directory / "broker") as broker:
        connection = await aio_pika.connect(broker.url, timeout=30)
        async with connection, connection.channel(publisher_confirms=False) as channel:
            yield Throughput(broker.url, channel, directory)


@contextmanager
def _on_cores(cores: set[int]) -> Iterator[None]:
    """Start processes on these cores meanwhile."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
