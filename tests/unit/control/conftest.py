"""The whole control loop between a fake cluster and a fake broker, in virtual time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from taskqueue_operator.control.clock import Clock, loop_clock
from taskqueue_operator.control.drain import Author
from taskqueue_operator.control.loop import Control
from taskqueue_operator.control.ports import Body
from taskqueue_operator.topology.objects import Queue, Topology

from .fake_broker import START, FakeBroker, FakeBrokers
from .fake_cluster import KEY, FakeCluster, FakeTelemetry, taskqueue
from .fake_workers import FakeWorkers


@dataclass
class World:
    """The loop and its outside."""

    cluster: FakeCluster
    brokers: FakeBrokers
    telemetry: FakeTelemetry
    clock: Clock
    control: Control
    running: asyncio.Task[None]
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def broker(self) -> FakeBroker:
        return self.brokers.broker

    def replicas(self) -> int:
        count: int = self.cluster.deployments[KEY]["spec"]["replicas"]
        return count

    async def settle(self, seconds: float = 3) -> None:
        """Let it work for a while."""
        await asyncio.sleep(seconds)
        for task in (self.running, *self.tasks):
            assert not task.done(), task

    async def restart(self) -> None:
        """End the loop in the middle of whatever it does, and begin with nothing but what the cluster shows."""
        await stop(self.running)
        start(self)

    def staff(self) -> FakeWorkers:
        """From now on pods come and go as are asked for, and the workers in them keep the control protocol."""
        workers = FakeWorkers(self.cluster, self.brokers)
        self.tasks.append(asyncio.create_task(workers.run()))
        return workers

    async def has(self, **spec: object) -> None:
        """Have a TaskQueue, and let it be made."""
        self.cluster.put(taskqueue(KEY, **spec))
        await self.settle()


def start(world: World) -> None:
    world.control = Control(world.cluster, world.brokers, world.telemetry, world.clock, Author("default", 1))
    notes: dict[str, Callable[..., None]] = {
        "taskqueues": world.control.taskqueue,
        "deployments": world.control.deployment,
        "pods": world.control.pod,
    }

    def watch(kind: str, body: Body, gone: bool) -> None:  # noqa: FBT001  as the watch has it
        notes[kind](body, gone=gone)

    world.cluster.watch = watch
    world.running = asyncio.create_task(world.control.run())
    for kind in notes:
        for body in list(world.cluster._objects(kind).values()):
            watch(kind, body, gone=False)


async def stop(task: Awaitable[None]) -> None:
    future = asyncio.ensure_future(task)
    future.cancel()
    await asyncio.gather(future, return_exceptions=True)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    clock = loop_clock()
    made = World(FakeCluster(), FakeBrokers(clock), FakeTelemetry(), clock, *[None, None])  # type: ignore[arg-type]  # start sets both
    start(made)
    yield made
    for task in (made.running, *made.tasks):
        await stop(task)


@pytest.fixture
async def broker() -> FakeBroker:
    """Hold the queues `jobs` and `more`."""
    made = FakeBroker(loop_clock(START))
    made.topology_ = Topology(queues={name: Queue(name) for name in ("jobs", "more")})
    return made
