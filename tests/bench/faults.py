"""Faults of a three-node broker, one after the other, while workers are busy: wrong scale-ins, and time to recover.

Needs no Kubernetes node: an API server, the operator as a process, and RabbitMQ as three processes.
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

from tests.bench.fault_run import MIN_MESSAGES, FaultRun, Recovery, fault_run
from tests.bench.result import Result, Target
from tests.cluster.progress import step
from tests.integration.harness.fault_scenario import ReplicaWatch

TARGETS: Final = {
    "faults": Target(">=", 100),
    "wrong_scale_ins": Target("<=", 0),
    "recovery_max_s": Target("<=", 5),
}


async def run(_setting: object = None) -> Result:
    """Inject the faults in random order; each ends, with a recovery, before the next one."""
    for library in ("aio_pika", "aiormq"):
        logging.getLogger(library).setLevel(logging.CRITICAL)  # expected errors
    faults = [fault for fault, times in PLAN.items() for _ in range(times)]
    random.shuffle(faults)
    recoveries: dict[str, list[Recovery]] = {fault.__name__: [] for fault in PLAN}
    with contextlib.ExitStack() as stack:
        run = await to_thread(stack.enter_context, fault_run())
        await run.publish(0, MIN_MESSAGES + 200)
        await run.until_reading_is_right(by=0)
        async with run.workers():
            with ReplicaWatch(run.scenario.plane, run.scenario.namespace) as watch:
                for number, fault in enumerate(faults, start=1):
                    async with fault(run) as witness:
                        recovery = await run.recovery(witness)
                    recoveries[fault.__name__].append(recovery)
                    after = f"the broker after {recovery.broker:.2f} s, the operator {recovery.operator:.2f} s later"
                    step(f"{number}/{len(faults)} {fault.__name__}: recovered, {after}")
    return Result(_figures(recoveries, len(watch.scale_ins())), samples=len(faults), targets=TARGETS)


def _figures(recoveries: Mapping[str, list[Recovery]], wrong: int) -> dict[str, float]:
    all_recoveries = [recovery for kind in recoveries.values() for recovery in kind]
    figures: dict[str, float] = {"faults": len(all_recoveries), "wrong_scale_ins": wrong}
    figures["recovery_max_s"] = max(recovery.operator for recovery in all_recoveries)
    figures["recovery_p50_s"] = statistics.median(recovery.operator for recovery in all_recoveries)
    figures["broker_max_s"] = max(recovery.broker for recovery in all_recoveries)
    figures["both_max_s"] = max(recovery.broker + recovery.operator for recovery in all_recoveries)
    for kind, samples in recoveries.items():
        figures[kind] = len(samples)
        figures[f"{kind}_recovery_max_s"] = max(recovery.operator for recovery in samples)
    return figures


@asynccontextmanager
async def leader_killed(run: FaultRun) -> AsyncIterator[int]:
    """Ends with the election of another leader; the node restarts before the next fault."""
    leader = await run.leader()
    node, witness = run.three_nodes.nodes[leader], (leader + 1) % 3
    await to_thread(node.kill)
    await run.leader(asked=witness, other_than=leader)
    yield witness
    await to_thread(node.start)
    await run.leader(asked=leader)


@asynccontextmanager
async def leader_frozen(run: FaultRun) -> AsyncIterator[int]:
    """Ends when the process continues; shorter or longer than the failure detection of the other nodes."""
    leader = await run.leader()
    with _pinned(run):
        await to_thread(run.three_nodes.nodes[leader].pause)
        await asyncio.sleep(random.uniform(3, 16))
        await to_thread(run.three_nodes.nodes[leader].resume)
        yield (leader + 1) % 3


@asynccontextmanager
async def leader_cut_off(run: FaultRun) -> AsyncIterator[int]:
    """Ends when the network is connected again."""
    leader = await run.leader()
    with _pinned(run):
        await to_thread(run.three_nodes.isolate, leader)
        await asyncio.sleep(random.uniform(12, 18))
        await to_thread(run.three_nodes.heal, leader)
        yield (leader + 1) % 3


@asynccontextmanager
async def node_restarted(run: FaultRun) -> AsyncIterator[int]:
    """Ends when the node responds again."""
    number = random.randrange(3)
    with _pinned(run, number):
        await to_thread(run.three_nodes.nodes[number].stop)
        await to_thread(run.three_nodes.nodes[number].start)
        yield number


@asynccontextmanager
async def management_stalled(run: FaultRun) -> AsyncIterator[int]:
    """Ends when the API responds again, first to the requests of the meantime."""
    run.three_nodes.management.stall()
    await asyncio.sleep(random.uniform(5, 25))
    run.three_nodes.management.flow()
    yield 0


@asynccontextmanager
async def connections_cut(run: FaultRun) -> AsyncIterator[int]:
    """Ends with the last connection that is cut in the middle of a response."""
    for proxy in run.three_nodes.proxies:
        proxy.cut(after=random.randrange(20, 1000))
    await asyncio.sleep(random.uniform(5, 15))
    for proxy in run.three_nodes.proxies:
        proxy.mend()
    yield 0


PLAN: Final[Mapping[Callable[[FaultRun], AbstractAsyncContextManager[int]], int]] = {
    leader_killed: 85,
    leader_frozen: 4,
    leader_cut_off: 4,
    node_restarted: 2,
    management_stalled: 3,
    connections_cut: 3,
}
"""How often each fault is injected; a killed leader is the most frequent fault in practice, and the fastest."""


@contextmanager
def _pinned(run: FaultRun, number: int | None = None) -> Iterator[None]:
    """Connect the operator to one node, by default a random one."""
    node = random.randrange(3) if number is None else number
    for proxy in run.three_nodes.proxies:
        proxy.pin(node)
    try:
        yield
    finally:
        for proxy in run.three_nodes.proxies:
            proxy.unpin()
