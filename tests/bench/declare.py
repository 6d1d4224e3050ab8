"""How long the operator takes to declare all TaskQueues on an empty broker, and to verify them after a restart.

The API server is played by this process; broker and operator are real ones, as processes of their own.
"""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

import httpx

from tests.bench.context import Context
from tests.bench.played.fleet import PlayedFleet
from tests.bench.played.objects import Objects
from tests.bench.played.real_broker import RealBroker
from tests.bench.played.world import api_server, successful_reconciles
from tests.bench.polling import eventually
from tests.bench.result import Result, Target
from tests.cluster.broker import Broker
from tests.cluster.progress import step
from tests.integration.harness.operator_process import OperatorProcess

LARGE: Final = 75
"""Objects of the large vhost, for each TaskQueue; a TaskQueue has 7."""
POLL_SECONDS: Final = 0.5
TIMEOUT_SECONDS: Final = 900
SETTLE_SECONDS: Final = 30
"""Longer than the operator takes to treat a queue as empty and to update the status."""
TARGETS: Final = {
    "declare_s": Target("<=", 60),
    "verified_s": Target("<=", 60),
    "large_verified_s": Target("<=", 60),
    "api_writes": Target("<=", 0),
    "broker_writes": Target("<=", 0),
}


async def run(context: Context) -> Result:
    """Declare once, then restart twice: the second time, the vhost has many more objects."""
    async with _world(context.size) as world:
        declare_s = await world.declared()
        await world.settled()
        verified_s, writes = await world.restarted()
        await world.add_objects(context.size * LARGE)
        large_verified_s, large_writes = await world.restarted()
    broker_writes = writes.pop("topology", 0) + large_writes.pop("topology", 0)
    figures = {
        "declare_s": declare_s,
        "verified_s": verified_s,
        "large_verified_s": large_verified_s,
        "api_writes": sum(writes.values()) + sum(large_writes.values()),
        "broker_writes": broker_writes,
        "taskqueues": context.size,
    }
    return Result(figures, samples=1, targets=TARGETS)


@dataclass
class _World:
    objects: Objects
    operator: OperatorProcess
    broker: RealBroker
    http: httpx.AsyncClient
    size: int

    async def declared(self) -> float:
        """Start the operator; return the seconds until the broker has all objects."""
        listings = self.broker.vhosts["/"].listings
        expected = {kind: len(listings[kind]) for kind in ("queues", "bindings")}
        step(f"declaring {self.size} TaskQueues: {expected}")
        began = time.monotonic()
        await asyncio.to_thread(self.operator.launch)
        for kind, count in expected.items():

            async def exist(kind: str = kind, count: int = count) -> bool:
                return await self._count(kind) >= count

            await eventually(exist, f"all {kind} exist", seconds=TIMEOUT_SECONDS, every=POLL_SECONDS)
        took = time.monotonic() - began
        step(f"declared after {took:.1f} s")
        return took

    async def settled(self) -> None:
        """Wait until every TaskQueue says that its topology is ready, and nothing is written any more."""

        async def is_said() -> bool:
            bodies = self.objects.taskqueues.items.values()
            conditions = [body.get("status", {}).get("conditions", []) for body in bodies]
            return all(any(_is_ready(condition) for condition in found) for found in conditions)

        async def is_quiet() -> bool:
            before = self.operator.writes()
            await asyncio.sleep(SETTLE_SECONDS)
            return self.operator.writes() == before

        await eventually(is_said, "every TaskQueue is ready", seconds=TIMEOUT_SECONDS, every=1)
        await eventually(is_quiet, "nothing is written any more", seconds=TIMEOUT_SECONDS, every=0)
        step(f"written until then: {self.operator.writes()}")

    async def restarted(self) -> tuple[float, dict[str, float]]:
        """Restart the operator; return the seconds until it has verified all TaskQueues, and what it writes."""
        await asyncio.to_thread(self.operator.stop)
        began = time.monotonic()
        await asyncio.to_thread(self.operator.launch)

        async def verified() -> bool:
            return await successful_reconciles(self.operator) >= self.size

        await eventually(verified, "every TaskQueue is verified", seconds=TIMEOUT_SECONDS, every=POLL_SECONDS)
        took = time.monotonic() - began
        await asyncio.sleep(SETTLE_SECONDS)
        writes = self.operator.writes()
        step(f"verified after {took:.1f} s; written: {writes}")
        return took, writes

    async def _count(self, kind: str) -> int:
        """Count the queues of the vhost, or its bindings without those to the default exchange."""
        column = {"queues": "name", "bindings": "source"}[kind]
        found = (await self.http.get(f"{kind}/%2F", params={"disable_stats": "true", "columns": column})).json()
        return sum(1 for item in found if item[column])

    async def add_objects(self, total: int) -> None:
        """Add objects of others to the vhost, so that it has so many."""
        listings = self.broker.vhosts["/"].listings
        count = (total - sum(len(items) for items in listings.values())) // 3
        step(f"adding {count} exchanges, queues and bindings of others")
        names = [f"other-{number:05}" for number in range(count)]
        common = {"durable": True, "auto_delete": False, "arguments": {}}
        bound = {"vhost": "/", "destination_type": "queue", "routing_key": "", "arguments": {}}
        definitions = {
            "exchanges": [{"name": name, "type": "fanout", "internal": False, **common} for name in names],
            "queues": [{"name": name, **common} for name in names],
            "bindings": [{"source": name, "destination": name, **bound} for name in names],
        }
        (await self.http.post("definitions/%2F", json=definitions)).raise_for_status()


@asynccontextmanager
async def _world(size: int) -> AsyncIterator[_World]:
    """Start an empty broker; the operator is not started."""
    objects = Objects()
    fleet = PlayedFleet(objects)
    with tempfile.TemporaryDirectory() as directory, Broker.start(Path(directory) / "broker") as broker:
        real = RealBroker(broker)
        fleet.add_broker("rabbitmq", real, vhost=quote("/", safe=""))
        for number in range(size):
            fleet.add_taskqueue(real, f"queue-{number:05}", queue_type="Quorum")
        async with real.http() as http, api_server(objects, Path(directory)) as kubeconfig:
            operator = OperatorProcess(kubeconfig, Path(directory))
            try:
                yield _World(objects, operator, real, http, size)
            finally:
                if operator.process is not None and operator.process.poll() is None:
                    await asyncio.to_thread(operator.stop)


def _is_ready(condition: dict[str, str]) -> bool:
    return condition["type"] == "TopologyReady" and condition["status"] == "True"
