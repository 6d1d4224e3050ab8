"""The whole controller between a fake cluster and a fake broker, in virtual time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from taskqueue_operator.control.clock import Clock, loop_clock
from taskqueue_operator.control.controller import Controller
from taskqueue_operator.control.ports import Body
from taskqueue_operator.control.scale.leader import Leader

from .fake_broker import FakeBroker, FakeBrokers
from .fake_cluster import KEY, FakeCluster, FakeTelemetry, taskqueue
from .fake_workers import FakeWorkers


@dataclass
class ControlHarness:
    """A controller between fakes. While several run, `controller` and `controller_task` are those of the last one."""

    cluster: FakeCluster
    brokers: FakeBrokers
    telemetry: FakeTelemetry
    clock: Clock
    epoch: int = 0
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    controller: Controller = field(init=False)
    controller_task: asyncio.Task[None] = field(init=False)

    @property
    def broker(self) -> FakeBroker:
        return self.brokers.broker

    def replicas(self) -> int:
        count: int = self.cluster.deployments[KEY]["spec"]["replicas"]
        return count

    async def settle(self, seconds: float = 3) -> None:
        """Let the controller work for so many seconds."""
        await asyncio.sleep(seconds)
        for task in (self.controller_task, *self.tasks):
            assert not task.done(), task

    def start_controller(self) -> None:
        """Start a controller of the next epoch, which knows nothing but what the cluster shows."""
        self.epoch += 1
        self.controller = Controller(
            self.cluster, self.brokers, self.telemetry, self.clock, Leader("default", self.epoch)
        )
        handlers: dict[str, Callable[..., None]] = {
            "taskqueues": self.controller.on_taskqueue,
            "deployments": self.controller.on_deployment,
            "pods": self.controller.on_pod,
        }

        def watch(kind: str, body: Body, deleted: bool) -> None:  # noqa: FBT001  the shape of a watch
            handlers[kind](body, deleted=deleted)

        self.cluster.watches.append(watch)
        self.controller_task = asyncio.create_task(self.controller.run())
        for kind in handlers:
            for body in list(self.cluster._objects(kind).values()):
                watch(kind, body, deleted=False)

    async def restart(self) -> None:
        """Cancel the controller at any of its steps, and start another one."""
        await self.stop_controller()
        self.start_controller()

    async def stop_controller(self) -> None:
        """Cancel the controller at any of its steps."""
        self.cluster.watches.pop()
        await cancel(self.controller_task)

    def start_competing_controller(self, *, watch_lost: bool = False) -> asyncio.Task[None]:
        """Start another controller while the former one continues; with `watch_lost`, that one sees no more events.

        Returns:
            The task of the former controller.
        """
        former = self.controller_task
        self.tasks.append(former)
        if watch_lost:
            self.cluster.watches.pop()
        self.start_controller()
        return former

    def start_workers(self) -> FakeWorkers:
        """From now on run as many pods as the Deployments want; their workers keep the control protocol."""
        workers = FakeWorkers(self.cluster, self.brokers)
        self.tasks.append(asyncio.create_task(workers.run()))
        return workers

    async def apply(self, **spec: object) -> None:
        """Apply a TaskQueue, and let the controller reconcile it."""
        self.cluster.put(taskqueue(KEY, **spec))
        await self.settle()


async def cancel(task: Awaitable[None]) -> None:
    future = asyncio.ensure_future(task)
    future.cancel()
    await asyncio.gather(future, return_exceptions=True)


@asynccontextmanager
async def running_harness() -> AsyncIterator[ControlHarness]:
    """A harness with a running controller and no objects."""
    clock = loop_clock()
    harness = ControlHarness(FakeCluster(), FakeBrokers(clock), FakeTelemetry(), clock)
    harness.start_controller()
    yield harness
    for task in (harness.controller_task, *harness.tasks):
        await cancel(task)
