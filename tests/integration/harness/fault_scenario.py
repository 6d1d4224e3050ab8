"""A TaskQueue on three nodes whose backlog needs exactly the workers it has: a figure too low removes one at once."""

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from types import TracebackType
from typing import Final, Self

import aiormq

from tests.cluster import build
from tests.cluster.control_plane import ControlPlane
from tests.cluster.three_node_broker import ThreeNodeBroker
from tests.integration.harness.eventually import eventually
from tests.integration.harness.tenant import Tenant

QUEUE: Final = "jobs"
PER_WORKER: Final = 10
WORKERS: Final = 20
MAX_REPLICAS: Final = 40
SCALING: Final = {
    "maxReplicas": MAX_REPLICAS,
    "readyPerReplica": PER_WORKER,
    "idleSeconds": 1,
    "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
}
"""Nothing but the reading itself stands between a wrong figure and the workers."""


class FaultScenario(Tenant[ThreeNodeBroker]):
    """The tenant of the tests of faults: a TaskQueue, its backlog, and how many workers the operator asks for."""

    def start(self) -> None:
        """Let the operator declare the queue, and wait until it has read enough of it to remove workers."""
        self.secret()
        self.taskqueue(QUEUE, scaling=SCALING)
        eventually(lambda: self.condition(QUEUE).get("status"), "True")
        self.mark_started(QUEUE)
        self.set_backlog(WORKERS)
        self.set_backlog(WORKERS // 2)

    def set_backlog(self, workers: int, *, by: int = 0) -> None:
        """Set the backlog, through a node, to what so many workers are for, and wait until the operator asks for them.

        A smaller backlog needs a reading that the operator trusts, so it shows that its readings are right again.
        """
        asyncio.run(_set_backlog(self.broker.nodes[by].url + self.vhost, workers * PER_WORKER))
        eventually(lambda: self.replicas(QUEUE), workers)

    def depth(self, *, by: int) -> int:
        """Return the depth that a node reports for a passive declare."""
        return asyncio.run(_depth(self.broker.nodes[by].url + self.vhost))

    def nodes_agree(self) -> bool:
        """Whether all nodes give the same depth, and not that of a queue without a leader."""
        depths = {self.depth(by=number) for number in range(len(self.broker.nodes))}
        return len(depths) == 1 and depths != {0}

    def leader(self, *, asked: int, other_than: int | None = None) -> int:
        """Wait until a node knows the leader of the queue; return the number of the leader."""
        found = None

        def known() -> bool:
            nonlocal found
            found = self.broker.leader(self.vhost, QUEUE, asked=asked)
            return found not in {None, other_than}

        eventually(known)
        assert found is not None
        return found

    @contextmanager
    def without_scale_in(self) -> Iterator[None]:
        """Fail if a worker is removed inside, or before the operator has followed the backlog afterwards.

        When the broker is whole again, the backlog grows and then shrinks: the operator must follow both.
        """
        with ReplicaWatch(self.plane, self.namespace) as watch:
            yield
            eventually(self.nodes_agree)
            self.set_backlog(WORKERS + 10)
        with ReplicaWatch(self.plane, self.namespace) as lowered:
            self.set_backlog(WORKERS // 2)
        assert watch.scale_ins() == [], f"of all values {watch.replicas}"
        assert min(lowered.replicas) == WORKERS // 2, f"of all values {lowered.replicas}"


class ReplicaWatch:
    """Records every value of `spec.replicas` while it is open, as the API server reports it."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self.replicas: list[int] = []
        self._get = [*build.program("kubectl"), f"--kubeconfig={plane.kubeconfig}", "get", "deployment", QUEUE]
        self._get += ["--namespace", namespace, "--output=jsonpath={.metadata.resourceVersion} {.spec.replicas}\n"]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [*self._get, "--watch"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )
        self._read_line()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._read_to(subprocess.check_output(self._get, text=True, timeout=120).split()[0])
        finally:
            self._process.terminate()
            self._process.communicate(timeout=120)

    def scale_ins(self) -> list[tuple[int, int]]:
        """List each decrease as (before, after); call it after the watch is closed."""
        return [(before, after) for before, after in pairwise(self.replicas) if after < before]

    def _read_to(self, version: str) -> None:
        """Read the watch up to this version of the Deployment: a watch may be late, also behind a list."""
        while int(self._version) < int(version):
            self._read_line()

    def _read_line(self) -> None:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the watch ended early"
        self._version, replicas = line.split()
        self.replicas.append(int(replicas))


async def _depth(url: str) -> int:
    async with asyncio.timeout(120), aiormq.Connection(url) as connection:
        channel = await connection.channel()
        return (await channel.queue_declare(QUEUE, passive=True)).message_count or 0


async def _set_backlog(url: str, depth: int) -> None:
    async with asyncio.timeout(120), aiormq.Connection(url) as connection:
        channel = await connection.channel()
        depth_before = (await channel.queue_declare(QUEUE, passive=True)).message_count or 0
        for _ in range(depth - depth_before):
            await channel.basic_publish(b"{}", routing_key=QUEUE)
        for _ in range(depth_before - depth):
            await channel.basic_get(QUEUE, no_ack=True)
