"""Faults of a three-node broker, one after the other, while workers work: what they do to them, and for how long.

Needs no node: an API server, the operator as a process, and RabbitMQ as three.
"""

import asyncio
import contextlib
import logging
import random
import statistics
from asyncio import to_thread
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Final

from tests.bench.play import FLOOR, Play, Recovery, play
from tests.bench.result import Result, Target
from tests.cluster.progress import step
from tests.integration.faults.scene import Watch

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
    recoveries: dict[str, list[Recovery]] = {fault.__name__: [] for fault in PLAN}
    with contextlib.ExitStack() as stack:
        on = await to_thread(stack.enter_context, play())
        await on.publish(0, FLOOR + 200)
        await on.reads_right(by=0)
        async with on.workers():
            with Watch(on.scene.plane, on.scene.namespace) as watch:
                for number, fault in enumerate(faults, start=1):
                    async with fault(on) as witness:
                        recovery = await on.recovery(witness)
                    recoveries[fault.__name__].append(recovery)
                    after = f"the broker after {recovery.broker:.2f} s, the operator {recovery.operator:.2f} s later"
                    step(f"{number}/{len(faults)} {fault.__name__}: right again, {after}")
    return Result(_figures(recoveries, len(watch.scale_ins())), samples=len(faults), targets=TARGETS)


def _figures(recoveries: Mapping[str, list[Recovery]], wrong: int) -> dict[str, float]:
    every = [recovery for kind in recoveries.values() for recovery in kind]
    figures: dict[str, float] = {"faults": len(every), "wrong_scale_ins": wrong}
    figures["recovery_max_s"] = max(recovery.operator for recovery in every)
    figures["recovery_p50_s"] = statistics.median(recovery.operator for recovery in every)
    figures["broker_max_s"] = max(recovery.broker for recovery in every)
    figures["both_max_s"] = max(recovery.broker + recovery.operator for recovery in every)
    for kind, those in recoveries.items():
        figures[kind] = len(those)
        figures[f"{kind}_recovery_max_s"] = max(recovery.operator for recovery in those)
    return figures


@asynccontextmanager
async def leader_killed(on: Play) -> AsyncIterator[int]:
    """Ends with the election of another; the node is back before the next fault."""
    leader = await on.leader()
    node, witness = on.trio.nodes[leader], (leader + 1) % 3
    await to_thread(node.kill)
    await on.leader(asked=witness, other_than=leader)
    yield witness
    await to_thread(node.start)
    await on.leader(asked=leader)


@asynccontextmanager
async def leader_frozen(on: Play) -> AsyncIterator[int]:
    """Ends when it goes on; shorter and longer than it takes the others to notice."""
    leader = await on.leader()
    with _asked(on):
        await to_thread(on.trio.nodes[leader].pause)
        await asyncio.sleep(random.uniform(3, 16))
        await to_thread(on.trio.nodes[leader].resume)
        yield (leader + 1) % 3


@asynccontextmanager
async def leader_cut_off(on: Play) -> AsyncIterator[int]:
    """Ends when the cable is plugged in again."""
    leader = await on.leader()
    with _asked(on):
        await to_thread(on.trio.isolate, leader)
        await asyncio.sleep(random.uniform(12, 18))
        await to_thread(on.trio.heal, leader)
        yield (leader + 1) % 3


@asynccontextmanager
async def node_restarted(on: Play) -> AsyncIterator[int]:
    """Ends when it answers again."""
    number = random.randrange(3)
    with _asked(on, number):
        await to_thread(on.trio.nodes[number].stop)
        await to_thread(on.trio.nodes[number].start)
        yield number


@asynccontextmanager
async def management_stalled(on: Play) -> AsyncIterator[int]:
    """Ends when it answers again, to what it was asked meanwhile first."""
    on.trio.management.stall()
    await asyncio.sleep(random.uniform(5, 25))
    on.trio.management.flow()
    yield 0


@asynccontextmanager
async def connections_cut(on: Play) -> AsyncIterator[int]:
    """Ends with the last one that is cut in the middle of an answer."""
    for front in on.trio.fronts:
        front.cut(after=random.randrange(20, 1000))
    await asyncio.sleep(random.uniform(5, 15))
    for front in on.trio.fronts:
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
def _asked(on: Play, number: int | None = None) -> Iterator[None]:
    """Have the operator speak to one node: this one, or any."""
    chosen = random.randrange(3) if number is None else number
    for front in on.trio.fronts:
        front.pin(chosen)
    try:
        yield
    finally:
        for front in on.trio.fronts:
            front.unpin()
