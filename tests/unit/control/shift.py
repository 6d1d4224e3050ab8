"""Workers with tasks to do: they take them from the queue one by one, and it is known what became of each."""

import asyncio
from collections import Counter, deque
from dataclasses import dataclass, field

from typing_extensions import override

from taskqueue_operator.drain.protocol import State
from taskqueue_operator.resource.names import ANNOTATION_DRAIN

from .conftest import World
from .fake_cluster import KEY
from .fake_workers import FakeWorker, FakeWorkers


@dataclass(eq=False)
class Task:
    """One message."""

    seconds: float


@dataclass
class Shift(FakeWorkers):
    """All who work on the queue of one TaskQueue.

    Attributes:
        waiting: Tasks that nobody has begun.
        running: Who works on what, and until when.
        done: How often each task was done.
    """

    waiting: deque[Task] = field(default_factory=deque)
    running: dict[str, tuple[Task, float]] = field(default_factory=dict)
    done: Counter[Task] = field(default_factory=Counter)

    def publish(self, count: int, *, seconds: float) -> None:
        """Have more to do."""
        self.waiting += [Task(seconds) for _ in range(count)]
        self._count()

    def kill(self, worker: FakeWorker) -> None:
        """End its process: what it held is delivered again, and the kubelet starts another one."""
        if worker.pod in self.running:
            self.waiting.appendleft(self.running.pop(worker.pod)[0])
        worker.start_again()

    def deliver_again(self) -> None:
        """Have the broker lose all connections: what runs goes on, and is delivered again all the same."""
        self.waiting.extendleft(task for task, _ in self.running.values())

    @override
    def work(self) -> None:
        now = asyncio.get_running_loop().time()
        for worker in self.there.values():
            task, ends = self.running.get(worker.pod, (None, 0.0))
            if task is not None and now >= ends:
                self.done[task] += 1
                del self.running[worker.pod]
                worker.in_flight = 0
            if self.waiting and self._takes(worker):
                task = self.waiting.popleft()
                self.running[worker.pod] = task, now + task.seconds
                worker.in_flight = 1
        self._count()

    def _takes(self, worker: FakeWorker) -> bool:
        free = not worker.in_flight and worker.obstacle is None
        return free and worker.state is State.CONSUMING and self.brokers.broker.fault is None

    def _count(self) -> None:
        self.brokers.broker.depths[KEY.name] = len(self.waiting), len(self.running)


def begin_shift(world: World) -> Shift:
    """Have workers who work."""
    shift = Shift(world.cluster, world.brokers)
    world.tasks.append(asyncio.create_task(shift.run()))
    return shift


def mark(world: World) -> str | None:
    """Read the annotation that stands while somebody is drained."""
    found: str | None = world.cluster.deployments[KEY]["metadata"].get("annotations", {}).get(ANNOTATION_DRAIN)
    return found
