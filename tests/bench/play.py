"""Workers, an operator and three RabbitMQ nodes, and how soon the operator is right again after a fault of these."""

import asyncio
import contextlib
import random
import tempfile
import time
from asyncio import to_thread
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import aio_pika
import httpx
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from prometheus_client.parser import text_string_to_metric_families

from tests.cluster.control_plane import ControlPlane
from tests.cluster.prerequisites import need_root
from tests.cluster.progress import step
from tests.cluster.trio import Trio
from tests.integration.control.stage import ROOT, Operator
from tests.integration.faults.scene import MOST, PER_WORKER, QUEUE, Scene

WORKERS: Final = 20
TASK_SECONDS: Final = 8.0
FLOOR: Final = MOST * PER_WORKER
"""Messages that are always there: fewer workers than the most are always wrong."""
PUBLISHED: Final = 40
"""After each fault, so that no figure from before it passes for right; a little more than is worked off."""
SLACK: Final = 12
"""Messages that come and go between two probes: those of workers that lose their connection, or find another."""
PATIENCE_SECONDS: Final = 120.0


class Recovery(NamedTuple):
    """Seconds from the end of a fault until the broker takes messages, and from then until the operator is right.

    When a leader is killed soon after a partition the broker takes none for 5 s, which no operator can mend.
    """

    broker: float
    operator: float


class Play:
    """Who takes part."""

    def __init__(self, trio: Trio, scene: Scene, operator: Operator) -> None:
        self.trio = trio
        self.scene = scene
        self._metrics = f"http://127.0.0.1:{operator.port}/metrics"

    async def leader(self, *, asked: int = 0, other_than: int | None = None) -> int:
        """Wait until a node knows who leads the queue."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                found = await to_thread(self.trio.leader, self.scene.vhost, QUEUE, asked=asked)
                if found is not None and found != other_than:
                    return found
                await asyncio.sleep(0.02)

    async def publish(self, node: int, count: int) -> None:
        """Publish by a node, each message confirmed."""
        message = aio_pika.Message(b"{}", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        async with self._channel(node) as channel, asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(*(channel.default_exchange.publish(message, QUEUE) for _ in range(count)))

    async def recovery(self, witness: int) -> Recovery:
        """Measure until the broker takes messages, and from then on until the operator knows of them."""
        ended = time.monotonic()
        await self.publish(witness, PUBLISHED)
        taken = time.monotonic()
        await self.reads_right(by=witness)
        return Recovery(taken - ended, time.monotonic() - taken)

    async def reads_right(self, *, by: int) -> None:
        """Wait until the operator's figure is that of a node which sees all that must be there."""
        async with self._channel(by) as channel, httpx.AsyncClient() as http, asyncio.timeout(PATIENCE_SECONDS):
            while True:
                shown = _ready((await http.get(self._metrics)).text)
                declared = await channel.declare_queue(QUEUE, passive=True)
                truth = declared.declaration_result.message_count or 0
                if shown is not None and truth >= FLOOR and abs(shown - truth) <= SLACK:
                    return
                await asyncio.sleep(0.05)

    @asynccontextmanager
    async def workers(self) -> AsyncIterator[None]:
        """Work on tasks, at any node, until left."""
        working = [asyncio.create_task(self._work()) for _ in range(WORKERS)]
        try:
            yield
        finally:
            for worker in working:
                worker.cancel()
            await asyncio.gather(*working, return_exceptions=True)

    @asynccontextmanager
    async def _channel(self, node: int, *, heartbeat: int = 60) -> AsyncIterator[AbstractChannel]:
        url = f"{self.trio.nodes[node].url}{self.scene.vhost}?heartbeat={heartbeat}"
        async with await aio_pika.connect(url, timeout=10) as connection, connection.channel() as channel:
            yield channel

    async def _work(self) -> None:
        while True:
            # Whatever happens to the connection: another one.
            with contextlib.suppress(Exception):
                async with self._channel(random.randrange(len(self.trio.nodes)), heartbeat=5) as channel:
                    await channel.set_qos(prefetch_count=1)
                    queue = await channel.get_queue(QUEUE, ensure=False)
                    await queue.consume(_toil)
                    await channel.closed()
            await asyncio.sleep(random.uniform(0.2, 1))


async def _toil(message: AbstractIncomingMessage) -> None:
    await asyncio.sleep(TASK_SECONDS)
    await message.ack()


@contextmanager
def play() -> Iterator[Play]:
    need_root()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        directory = Path(name)
        step("an API server, three RabbitMQ nodes, and the operator")
        plane = stack.enter_context(ControlPlane.start(directory / "control-plane"))
        trio = stack.enter_context(Trio.start(directory / "trio"))
        plane.kubectl("apply", "--server-side", "-f", str(ROOT / "crds/taskqueues.yaml"))
        plane.kubectl("wait", "--for=condition=Established", "crd/taskqueues.taskqueue.dev", "--timeout=30s")
        operator = Operator(plane.kubeconfig, directory)
        operator.start()
        stack.callback(operator.stop)
        scene = Scene(plane, trio)
        stack.callback(scene.close)
        scene.begin()
        yield Play(trio, scene, operator)


def _ready(page: str) -> float | None:
    """Find what the operator believes to wait in the queue at least."""
    name = "taskqueue_queue_messages_ready"
    lines = "\n".join(line for line in page.splitlines() if name in line)
    samples = [sample for family in text_string_to_metric_families(lines) for sample in family.samples]
    return samples[0].value if samples else None
