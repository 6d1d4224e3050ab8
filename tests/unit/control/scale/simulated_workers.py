"""Workers that run tasks: they start messages of the queue one by one, and count every completed task."""

import asyncio
from collections import Counter, deque
from dataclasses import dataclass, field

from typing_extensions import override

from taskqueue_operator.drain.protocol import State
from taskqueue_operator.resource.names import ANNOTATION_DRAIN
from tests.unit.control.control_harness import ControlHarness
from tests.unit.control.fake_cluster import KEY
from tests.unit.control.fake_workers import FakeWorker, FakeWorkers


@dataclass(eq=False)
class Task:
    """One message."""

    seconds: float


@dataclass
class SimulatedWorkers(FakeWorkers):
    """All workers of one TaskQueue, with tasks.

    Attributes:
        waiting: Tasks that no worker has started.
        running: By the pod, its task and when the task ends.
        done: How often each task was done.
    """

    waiting: deque[Task] = field(default_factory=deque)
    running: dict[str, tuple[Task, float]] = field(default_factory=dict)
    done: Counter[Task] = field(default_factory=Counter)

    def publish(self, count: int, *, seconds: float) -> None:
        """Publish more tasks."""
        self.waiting += [Task(seconds) for _ in range(count)]
        self._count()

    def kill(self, worker: FakeWorker) -> None:
        """End a process: its task is delivered again, and the kubelet starts another process."""
        if worker.pod in self.running:
            self.waiting.appendleft(self.running.pop(worker.pod)[0])
        worker.restart()

    def deliver_again(self) -> None:
        """The broker loses all connections: running tasks continue, and are delivered again as well."""
        self.waiting.extendleft(task for task, _ in self.running.values())

    @override
    def work(self) -> None:
        now = asyncio.get_running_loop().time()
        for worker in self.by_pod.values():
            task, ends = self.running.get(worker.pod, (None, 0.0))
            if task is not None and now >= ends:
                self.done[task] += 1
                del self.running[worker.pod]
                worker.in_flight = 0
            if self.waiting and self._may_start(worker):
                task = self.waiting.popleft()
                self.running[worker.pod] = task, now + task.seconds
                worker.in_flight = 1
        self._count()

    def _may_start(self, worker: FakeWorker) -> bool:
        free = not worker.in_flight and worker.blocked_status is None
        return free and worker.state is State.CONSUMING and self.brokers.broker.fault is None

    def _count(self) -> None:
        self.brokers.broker.depths[KEY.name] = len(self.waiting), len(self.running)


def start_simulated_workers(harness: ControlHarness) -> SimulatedWorkers:
    """Start workers that run tasks."""
    workers = SimulatedWorkers(harness.cluster, harness.brokers)
    harness.tasks.append(asyncio.create_task(workers.run()))
    return workers


def drain_token(harness: ControlHarness) -> str | None:
    """Return the drain annotation of the Deployment."""
    found: str | None = harness.cluster.deployments[KEY]["metadata"].get("annotations", {}).get(ANNOTATION_DRAIN)
    return found
