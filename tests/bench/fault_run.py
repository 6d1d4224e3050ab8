"""Workers, an operator and three RabbitMQ nodes, and how soon the operator reads right after a fault of the nodes."""

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
from tests.cluster.three_node_broker import ThreeNodeBroker
from tests.integration.harness.fault_scenario import MAX_REPLICAS, PER_WORKER, QUEUE, FaultScenario
from tests.integration.harness.operator_process import OperatorProcess

WORKERS: Final = 20
TASK_SECONDS: Final = 8.0
MIN_MESSAGES: Final = MAX_REPLICAS * PER_WORKER
"""Messages that always remain: fewer workers than the maximum are always wrong."""
PUBLISHED: Final = 40
"""Published after each fault, so that no old figure counts as right; a little more than the workers consume."""
TOLERANCE: Final = 12
"""How many messages change between two probes: those of workers that lose or establish a connection."""
TIMEOUT_SECONDS: Final = 120.0


class Recovery(NamedTuple):
    """Seconds from the end of a fault until the broker accepts messages, and from then until the operator reads right.

    If a leader is killed soon after a partition, the broker accepts no message for 5 s, whatever the operator does.
    """

    broker: float
    operator: float


class FaultRun:
    """The participants: three brokers, a queue with its TaskQueue, and an operator."""

    def __init__(self, three_nodes: ThreeNodeBroker, scenario: FaultScenario, operator: OperatorProcess) -> None:
        self.three_nodes = three_nodes
        self.scenario = scenario
        self._metrics = f"http://127.0.0.1:{operator.port}/metrics"

    async def leader(self, *, asked: int = 0, other_than: int | None = None) -> int:
        """Wait until a node knows the leader of the queue; return the number of the leader."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while True:
                found = await to_thread(self.three_nodes.leader, self.scenario.vhost, QUEUE, asked=asked)
                if found is not None and found != other_than:
                    return found
                await asyncio.sleep(0.02)

    async def publish(self, node: int, count: int) -> None:
        """Publish through a node, each message confirmed."""
        message = aio_pika.Message(b"{}", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        async with self._channel(node) as channel, asyncio.timeout(TIMEOUT_SECONDS):
            await asyncio.gather(*(channel.default_exchange.publish(message, QUEUE) for _ in range(count)))

    async def recovery(self, witness: int) -> Recovery:
        """Measure until the broker accepts messages, and from then until the operator reads them."""
        ended = time.monotonic()
        await self.publish(witness, PUBLISHED)
        accepted = time.monotonic()
        await self.until_reading_is_right(by=witness)
        return Recovery(accepted - ended, time.monotonic() - accepted)

    async def until_reading_is_right(self, *, by: int) -> None:
        """Wait until the operator's figure is that of the node `by`, which counts all messages that must exist."""
        async with self._channel(by) as channel, httpx.AsyncClient() as http, asyncio.timeout(TIMEOUT_SECONDS):
            while True:
                shown = _ready((await http.get(self._metrics)).text)
                declared = await channel.declare_queue(QUEUE, passive=True)
                truth = declared.declaration_result.message_count or 0
                if shown is not None and truth >= MIN_MESSAGES and abs(shown - truth) <= TOLERANCE:
                    return
                await asyncio.sleep(0.05)

    @asynccontextmanager
    async def workers(self) -> AsyncIterator[None]:
        """Consume tasks from random nodes while inside."""
        workers = [asyncio.create_task(self._work()) for _ in range(WORKERS)]
        try:
            yield
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    @asynccontextmanager
    async def _channel(self, node: int, *, heartbeat: int = 60) -> AsyncIterator[AbstractChannel]:
        url = f"{self.three_nodes.nodes[node].url}{self.scenario.vhost}?heartbeat={heartbeat}"
        async with await aio_pika.connect(url, timeout=10) as connection, connection.channel() as channel:
            yield channel

    async def _work(self) -> None:
        while True:
            # After any failure of the connection: connect again.
            with contextlib.suppress(Exception):
                async with self._channel(random.randrange(len(self.three_nodes.nodes)), heartbeat=5) as channel:
                    await channel.set_qos(prefetch_count=1)
                    queue = await channel.get_queue(QUEUE, ensure=False)
                    await queue.consume(_run_task)
                    await channel.closed()
            await asyncio.sleep(random.uniform(0.2, 1))


async def _run_task(message: AbstractIncomingMessage) -> None:
    await asyncio.sleep(TASK_SECONDS)
    await message.ack()


@contextmanager
def fault_run() -> Iterator[FaultRun]:
    need_root()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        directory = Path(name)
        step("starting an API server, three RabbitMQ nodes, and the operator")
        plane = stack.enter_context(ControlPlane.start(directory / "control-plane"))
        three_nodes = stack.enter_context(ThreeNodeBroker.start(directory / "three_nodes"))
        plane.install_crd()
        operator = OperatorProcess(plane.kubeconfig, directory)
        operator.start()
        stack.callback(operator.stop)
        scenario = FaultScenario(plane, three_nodes)
        stack.callback(scenario.close)
        scenario.start()
        yield FaultRun(three_nodes, scenario, operator)


def _ready(page: str) -> float | None:
    """Return the operator's lower bound for the ready messages."""
    name = "taskqueue_queue_messages_ready"
    lines = "\n".join(line for line in page.splitlines() if name in line)
    samples = [sample for family in text_string_to_metric_families(lines) for sample in family.samples]
    return samples[0].value if samples else None
