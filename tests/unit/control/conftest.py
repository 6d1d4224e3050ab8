"""The whole control loop between a fake cluster and a fake broker, in virtual time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from taskqueue_operator.control.clock import Clock, loop_clock
from taskqueue_operator.control.controller import Controller
from taskqueue_operator.control.ports import Body
from taskqueue_operator.control.scale.drainer import Leader
from taskqueue_operator.topology.objects import Queue, Topology

from .fake_broker import START, FakeBroker, FakeBrokers
from .fake_cluster import KEY, FakeCluster, FakeTelemetry, taskqueue
from .fake_workers import FakeWorkers


@dataclass
class World:
    """The loop and its outside. While several lead, `control` and `running` are those of the last one."""

    cluster: FakeCluster
    brokers: FakeBrokers
    telemetry: FakeTelemetry
    clock: Clock
    epoch: int = 0
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    control: Controller = field(init=False)
    running: asyncio.Task[None] = field(init=False)

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

    def lead(self) -> None:
        """Let an operator begin to lead, with nothing but what the cluster shows."""
        self.epoch += 1
        self.control = Controller(self.cluster, self.brokers, self.telemetry, self.clock, Leader("default", self.epoch))
        notes: dict[str, Callable[..., None]] = {
            "taskqueues": self.control.on_taskqueue,
            "deployments": self.control.on_deployment,
            "pods": self.control.on_pod,
        }

        def watch(kind: str, body: Body, gone: bool) -> None:  # noqa: FBT001  as the watch has it
            notes[kind](body, deleted=gone)

        self.cluster.watches.append(watch)
        self.running = asyncio.create_task(self.control.run())
        for kind in notes:
            for body in list(self.cluster._objects(kind).values()):
                watch(kind, body, gone=False)

    async def restart(self) -> None:
        """End the loop in the middle of whatever it does, and let another one begin."""
        await self.end()
        self.lead()

    async def end(self) -> None:
        """End the loop in the middle of whatever it does."""
        self.cluster.watches.pop()
        await stop(self.running)

    def supplant(self, *, blind: bool = False) -> asyncio.Task[None]:
        """Let another one lead while the former, which is returned, goes on; a `blind` one sees nothing from now on."""
        former = self.running
        self.tasks.append(former)
        if blind:
            self.cluster.watches.pop()
        self.lead()
        return former

    def staff(self) -> FakeWorkers:
        """From now on pods come and go as are asked for, and the workers in them keep the control protocol."""
        workers = FakeWorkers(self.cluster, self.brokers)
        self.tasks.append(asyncio.create_task(workers.run()))
        return workers

    async def has(self, **spec: object) -> None:
        """Have a TaskQueue, and let it be made."""
        self.cluster.put(taskqueue(KEY, **spec))
        await self.settle()


async def stop(task: Awaitable[None]) -> None:
    future = asyncio.ensure_future(task)
    future.cancel()
    await asyncio.gather(future, return_exceptions=True)


@asynccontextmanager
async def new_world() -> AsyncIterator[World]:
    """A world that an operator leads, with nothing in it."""
    clock = loop_clock()
    made = World(FakeCluster(), FakeBrokers(clock), FakeTelemetry(), clock)
    made.lead()
    yield made
    for task in (made.running, *made.tasks):
        await stop(task)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with new_world() as made:
        yield made


@pytest.fixture
async def broker() -> FakeBroker:
    """Hold the queues `jobs` and `more`."""
    made = FakeBroker(loop_clock(START))
    made.topology_ = Topology(queues={name: Queue(name) for name in ("jobs", "more")})
    return made
