"""What the workers of all runtimes do when their broker restarts, or their queues have no leader."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aio_pika
import pytest

from taskqueue_drain.worker_protocol import NOT_CERTAIN
from tests.cluster.broker import Broker
from tests.cluster.three_node_broker import ThreeNodeBroker
from tests.integration.adapters.running_application import RunningApplication, Runtime
from tests.integration.adapters.runtimes import DRAMATIQ, NEWEST, send
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.eventually import eventually
from tests.integration.worker.fake_operator import FakeOperator
from tests.integration.worker.gate import Gate

pytestmark = pytest.mark.fault

PAUSED: Final = (1, 2)
OF_QUORUM_QUEUES: Final = tuple(runtime for runtime in NEWEST if runtime is not DRAMATIQ)
"""dramatiq declares Classic queues: one without a leader is one without a broker."""


@dataclass
class Member:
    """A worker of one runtime, with a queue and an operator of its own."""

    runtime: Runtime
    worker: RunningApplication
    queue: DeclaredQueue
    operator: FakeOperator

    async def send(self, n: int, gate: Gate) -> None:
        await send(self.queue, self.runtime, n=n, gate=str(gate))


class Members:
    """Workers of several runtimes. Connections of the test end with `connected`; the workers stay."""

    def __init__(self, runtimes: Collection[Runtime], directory: Path, url: str) -> None:
        self._runtimes = runtimes
        self._directory = directory
        self._url = url
        self._workers: dict[str, RunningApplication] = {}

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[list[Member]]:
        async with await aio_pika.connect(self._url) as connection:
            yield [await self._member(await connection.channel(), runtime) for runtime in self._runtimes]

    async def _member(self, channel: aio_pika.abc.AbstractChannel, runtime: Runtime) -> Member:
        name = f"{self._directory.name}-{runtime.name}"
        further = {"x-dead-letter-routing-key": f"{name}.XQ"} if runtime.declares else {}
        queue = await DeclaredQueue(channel, name, "classic" if runtime.declares else "quorum").declare({**further})
        operator = await FakeOperator(channel, f"media/{name}").listen()
        worker = self._workers.get(name) or self._start(name, runtime)
        return Member(runtime, worker, queue, operator)

    def _start(self, name: str, runtime: Runtime) -> RunningApplication:
        variables = {"RABBITMQ_URL": self._url, "TASKQUEUE_NAME": f"media/{name}", "CONNECTION_NAME": name}
        variables |= {"TASKQUEUE_QUEUES": name, "TASKQUEUE_PREFETCH": "10", "QUEUE": name}
        directory = self._directory / name
        directory.mkdir()
        self._workers[name] = RunningApplication(directory, "worker", runtime, variables)
        return self._workers[name]

    def end(self) -> None:
        for worker in self._workers.values():
            worker.kill()
            print(worker.output)


@pytest.fixture
def gather(tmp_path: Path) -> Iterator[Callable[[Collection[Runtime], str], Members]]:
    with ExitStack() as stack:

        def members(runtimes: Collection[Runtime], url: str) -> Members:
            found = Members(runtimes, tmp_path, url)
            stack.callback(found.end)
            return found

        yield members


async def each(members: Collection[Member], step: Callable[[Member], Coroutine[Any, Any, object]]) -> None:
    async with asyncio.TaskGroup() as group:
        for member in members:
            group.create_task(step(member))


async def test_workers_of_all_runtimes_stay_drained_through_a_restart_of_the_broker(
    broker: Broker, gather: Callable[[Collection[Runtime], str], Members], gate: Gate
) -> None:
    members = gather(NEWEST, broker.url)

    async def drain_with_a_task(member: Member) -> None:
        await member.operator.wait_for_report(state="consuming")
        await member.send(1, gate)
        await member.worker.wait_for_ledger("started 1")
        await member.operator.done("drain", lease_seconds=120)

    async def continue_drained(member: Member) -> None:
        await member.operator.wait_for_report(state="draining", in_flight=1)
        await member.send(2, gate)
        await member.queue.wait_for_ready(2)

    async def end_the_drain(member: Member) -> None:
        await member.operator.wait_for_report(state="drained", in_flight=0)
        assert await member.queue.ready() == 2, "the broker has the task back whose connection it lost"
        await member.operator.done("undrain")
        await member.worker.wait_for_ledger("finished 2")
        await eventually("the second run", lambda: member.worker.ledger.count("finished 1") == 2)
        assert member.worker.ledger.count("finished 2") == 1

    async with members.connected() as before:
        await each(before, drain_with_a_task)
    broker.stop()
    broker.start()
    async with members.connected() as after:
        await each(after, continue_drained)
        gate.open()
        await each(after, end_the_drain)


@pytest.fixture
def three_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThreeNodeBroker]:
    with ThreeNodeBroker.start(tmp_path_factory.mktemp("three_nodes")) as three_nodes:
        yield three_nodes


async def test_a_drain_without_a_queue_leader_is_refused_and_no_task_runs_twice(
    three_nodes: ThreeNodeBroker, gather: Callable[[Collection[Runtime], str], Members], gate: Gate
) -> None:
    async def begin(member: Member) -> None:
        await member.operator.wait_for_report(state="consuming")
        for n in range(3):
            await member.send(n, gate)
        await member.worker.wait_for_ledger("started 0")

    async def refuse(member: Member) -> None:
        assert await member.operator.refused("drain") == NOT_CERTAIN
        assert member.operator.last["in_flight"] == 1, "the running task continues"

    async def drain(member: Member) -> None:
        await member.worker.wait_for_ledger("finished 0", "finished 1", "finished 2")
        await member.operator.wait_for_report(state="consuming", in_flight=0)
        assert len(member.worker.ledger) == len(set(member.worker.ledger)), "no task runs twice"
        assert (await member.operator.done("drain", seq=2))["state"] == "drained"

    async with gather(OF_QUORUM_QUEUES, three_nodes.nodes[0].url).connected() as members:
        await each(members, begin)
        for number in PAUSED:
            three_nodes.nodes[number].pause()
        try:
            await each(members, refuse)
        finally:
            for number in PAUSED:
                three_nodes.nodes[number].resume()
        gate.open()
        await each(members, drain)
