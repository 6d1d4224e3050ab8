"""A TaskQueue on three nodes, with a backlog that needs exactly the workers it has: a figure too low shows at once."""

import asyncio
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from types import TracebackType
from typing import Final, Self

import aiormq

from tests.cluster import build
from tests.cluster.control_plane import ControlPlane
from tests.cluster.trio import Trio
from tests.integration.control.stage import Stage, eventually

QUEUE: Final = "jobs"
PER_WORKER: Final = 10
WORKERS: Final = 20
MOST: Final = 40
SCALING: Final = {
    "maxReplicas": MOST,
    "readyPerReplica": PER_WORKER,
    "idleSeconds": 1,
    "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
}
"""Nothing but the reading itself stands between a wrong figure and the workers."""


class Scene(Stage[Trio]):
    """What a test of a fault works with."""

    def begin(self) -> None:
        """Have the operator declare the queue, and wait until it has seen enough of it to take workers away."""
        self.secret()
        self.taskqueue(QUEUE, scaling=SCALING)
        eventually(lambda: self.condition(QUEUE).get("status"), "True")
        self.level(WORKERS)
        self.level(WORKERS // 2)

    def level(self, workers: int, *, by: int = 0) -> None:
        """Bring the backlog to what so many workers are for, at a node, and wait until the operator has noticed.

        Down, this takes a reading in which the operator believes, so it shows that it is right again.
        """
        asyncio.run(_level(self.broker.nodes[by].url + self.vhost, workers * PER_WORKER))
        eventually(lambda: self.replicas(QUEUE), workers, seconds=120)

    def depth(self, *, by: int) -> int:
        """What a node answers to a passive declare."""
        return asyncio.run(_depth(self.broker.nodes[by].url + self.vhost))

    def agreed(self) -> bool:
        """Whether all nodes give the same depth, and not that of a queue without a leader."""
        depths = {self.depth(by=number) for number in range(len(self.broker.nodes))}
        return len(depths) == 1 and depths != {0}

    def leader(self, *, asked: int, other_than: int | None = None) -> int:
        """Wait until a node knows who leads the queue."""
        found = None

        def known() -> bool:
            nonlocal found
            found = self.broker.leader(self.vhost, QUEUE, asked=asked)
            return found not in {None, other_than}

        eventually(known)
        assert found is not None
        return found

    @contextmanager
    def unharmed(self) -> Iterator[None]:
        """Fail if a worker is taken away inside, or before the operator has noticed what comes after.

        What comes after, when the broker is one again, is a greater backlog, then a smaller one: it must follow both.
        """
        with Watch(self.plane, self.namespace) as watch:
            yield
            eventually(self.agreed)
            self.level(WORKERS + 10)
        with Watch(self.plane, self.namespace) as lowered:
            self.level(WORKERS // 2)
        assert watch.scale_ins() == [], f"of all numbers of workers {watch.replicas}"
        assert min(lowered.replicas) == WORKERS // 2, f"of all numbers of workers {lowered.replicas}"


class Watch:
    """Every number of workers that is asked for while it is open, as the API server tells it."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self.replicas: list[int] = []
        watch = [
            "get",
            "deployment",
            QUEUE,
            "--namespace",
            namespace,
            "--watch",
            "--output=jsonpath={.spec.replicas}\n",
        ]
        self._argv = [*build.program("kubectl"), f"--kubeconfig={plane.kubeconfig}", *watch]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.replicas.append(int(self._process.stdout.readline()))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.poll() is None, "nobody watched"
        self._process.terminate()
        self.replicas += [int(line) for line in re.findall(r"\d+", self._process.communicate(timeout=30)[0])]

    def scale_ins(self) -> list[tuple[int, int]]:
        """List what it went down from, and to; call when it is closed."""
        return [(before, after) for before, after in pairwise(self.replicas) if after < before]


async def _depth(url: str) -> int:
    async with asyncio.timeout(60), aiormq.Connection(url) as connection:
        channel = await connection.channel()
        return (await channel.queue_declare(QUEUE, passive=True)).message_count or 0


async def _level(url: str, depth: int) -> None:
    async with asyncio.timeout(60), aiormq.Connection(url) as connection:
        channel = await connection.channel()
        there = (await channel.queue_declare(QUEUE, passive=True)).message_count or 0
        for _ in range(depth - there):
            await channel.basic_publish(b"{}", routing_key=QUEUE)
        for _ in range(there - depth):
            await channel.basic_get(QUEUE, no_ack=True)
