"""Faults of a three-node broker, one after the other, while workers work: what they do to them, and for how long.

Needs no node: an API server, the operator as a process, and RabbitMQ as three.
"""

import asyncio
import contextlib
import logging
import random
import statistics
import tempfile
import time
from asyncio import to_thread
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import aio_pika
import httpx
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from prometheus_client.parser import text_string_to_metric_families

from tests.bench.result import Result, Target
from tests.cluster.control_plane import ControlPlane
from tests.cluster.progress import step
from tests.cluster.trio import Trio
from tests.integration.control.stage import ROOT, Operator
from tests.integration.faults.scene import MOST, PER_WORKER, QUEUE, Scene, Watch

WORKERS: Final = 20
TASK_SECONDS: Final = 8.0
FLOOR: Final = MOST * PER_WORKER
"""Messages that are always there: fewer workers than the most are always wrong."""
PUBLISHED: Final = 40
"""After each fault, so that no figure from before it passes for right; a little more than is worked off."""
SLACK: Final = 12
"""Messages that come and go between two probes: those of workers that lose their connection, or find another."""
PATIENCE_SECONDS: Final = 120.0
TARGETS: Final = {
    "faults": Target(">=", 100),
    "wrong_scale_ins": Target("<=", 0),
    "recovery_max_s": Target("<=", 5),
}


async def run(_setting: object = None) -> Result:
    """Take the faults in any order; each ends, and is recovered from, before the next."""
    for library in ("aio_pika", "aiormq"):
        logging.getLogger(library).setLevel(logging.CRITICAL)  # of what is broken here on purpose
    faults = [fault for fault, times in PLAN.items() for _ in range(times)]
    random.shuffle(faults)
    recoveries: dict[str, list[float]] = {fault.__name__: [] for fault in PLAN}
    with contextlib.ExitStack() as stack:
        play = await to_thread(stack.enter_context, _play())
        await play.publish(0, FLOOR + 200)
        await play.reads_right(by=0)
        async with play.workers():
            with Watch(play.scene.plane, play.scene.namespace) as watch:
                for number, fault in enumerate(faults, start=1):
                    async with fault(play) as witness:
                        seconds = await play.recovery(witness)
                    recoveries[fault.__name__].append(seconds)
                    step(f"{number}/{len(faults)} {fault.__name__}: right again after {seconds:.2f} s")
    return Result(_figures(recoveries, len(watch.scale_ins())), samples=len(faults), targets=TARGETS)


def _figures(recoveries: Mapping[str, list[float]], wrong: int) -> dict[str, float]:
    every = [seconds for kind in recoveries.values() for seconds in kind]
    figures: dict[str, float] = {"faults": len(every), "wrong_scale_ins": wrong, "recovery_max_s": max(every)}
    figures["recovery_p50_s"] = statistics.median(every)
    for kind, seconds in recoveries.items():
        figures[kind] = len(seconds)
        figures[f"{kind}_recovery_max_s"] = max(seconds)
    return figures


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

    async def recovery(self, witness: int) -> float:
        """Measure, from now, until the operator knows what a node has taken since."""
        began = time.monotonic()
        await self.publish(witness, PUBLISHED)
        await self.reads_right(by=witness)
        return time.monotonic() - began

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


@asynccontextmanager
async def leader_killed(play: Play) -> AsyncIterator[int]:
    """Ends with the election of another; the node is back before the next fault."""
    leader = await play.leader()
    node, witness = play.trio.nodes[leader], (leader + 1) % 3
    await to_thread(node.kill)
    await play.leader(asked=witness, other_than=leader)
    yield witness
    await to_thread(node.start)
    await play.leader(asked=leader)


@asynccontextmanager
async def leader_frozen(play: Play) -> AsyncIterator[int]:
    """Ends when it goes on; shorter and longer than it takes the others to notice."""
    leader = await play.leader()
    with _asked(play):
        await to_thread(play.trio.nodes[leader].pause)
        await asyncio.sleep(random.uniform(3, 16))
        await to_thread(play.trio.nodes[leader].resume)
        yield (leader + 1) % 3


@asynccontextmanager
async def leader_cut_off(play: Play) -> AsyncIterator[int]:
    """Ends when the cable is plugged in again."""
    leader = await play.leader()
    with _asked(play):
        await to_thread(play.trio.isolate, leader)
        await asyncio.sleep(random.uniform(12, 18))
        await to_thread(play.trio.heal, leader)
        yield (leader + 1) % 3


@asynccontextmanager
async def node_restarted(play: Play) -> AsyncIterator[int]:
    """Ends when it answers again."""
    number = random.randrange(3)
    with _asked(play, number):
        await to_thread(play.trio.nodes[number].stop)
        await to_thread(play.trio.nodes[number].start)
        yield number


@asynccontextmanager
async def management_stalled(play: Play) -> AsyncIterator[int]:
    """Ends when it answers again, to what it was asked meanwhile first."""
    play.trio.management.stall()
    await asyncio.sleep(random.uniform(5, 25))
    play.trio.management.flow()
    yield 0


@asynccontextmanager
async def connections_cut(play: Play) -> AsyncIterator[int]:
    """Ends with the last one that is cut in the middle of an answer."""
    for front in play.trio.fronts:
        front.cut(after=random.randrange(20, 1000))
    await asyncio.sleep(random.uniform(5, 15))
    for front in play.trio.fronts:
        front.mend()
    yield 0


PLAN: Final[Mapping[Callable[[Play], AbstractAsyncContextManager[int]], int]] = {
    leader_killed: 85,
    leader_frozen: 4,
    leader_cut_off: 4,
    node_restarted: 2,
    management_stalled: 3,
    connections_cut: 3,
}
"""How often each; killed leaders are what happens most, and the rest takes longer."""


@contextmanager
def _asked(play: Play, number: int | None = None) -> Iterator[None]:
    """Have the operator speak to one node: this one, or any."""
    chosen = random.randrange(3) if number is None else number
    for front in play.trio.fronts:
        front.pin(chosen)
    try:
        yield
    finally:
        for front in play.trio.fronts:
            front.unpin()


@contextmanager
def _play() -> Iterator[Play]:
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
