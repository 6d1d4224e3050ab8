"""How long the operator's event loop is held in one piece, in scenes of large fleets and of many broken brokers.

API server and brokers are played by this process, as no test machine holds such fleets; the operator is the real one,
as a process of its own.
"""

import asyncio
import ssl
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.context import Context
from tests.bench.played.broker import PlayedBroker, Vhost, played_broker, queue
from tests.bench.played.fleet import PlayedWorkers
from tests.bench.played.world import TIMEOUT_SECONDS, World, played_world
from tests.bench.polling import eventually
from tests.bench.result import Result, Target
from tests.cluster.certificates import Authority
from tests.cluster.progress import step

TARGETS: Final = {"max_stretch_ms": Target("<=", 50), "max_stretch_10k_ms": Target("<=", 200)}
POLICIES: Final = 1000
TLS_BROKERS: Final = 250
WORKERS: Final = 500
QUEUES: Final = 50_000
OUTAGE_SECONDS: Final = 20
DRAINING_SECONDS: Final = 30


async def run(context: Context) -> Result:
    """Play all scenes with `size` TaskQueues, and those of large fleets with ten times as many."""
    figures: dict[str, float] = {}
    async with played_world(context.size) as world:
        figures |= await _small_scenes(world, context.size)
    figures["max_stretch_ms"] = max(figures.values())
    async with played_world(10 * context.size) as world:
        large = await _large_scenes(world)
    figures |= large | {"max_stretch_10k_ms": max(large.values()), "taskqueues": context.size}
    return Result(figures, samples=world.samples, targets=TARGETS)


async def _small_scenes(world: World, size: int) -> dict[str, float]:
    scale = size / 1000
    fleet, operator = world.fleet, world.operator
    step(f"{TLS_BROKERS * scale:.0f} brokers with TLS")
    async with _tls_brokers(world, round(TLS_BROKERS * scale)) as tls:
        fleet.add_taskqueue(world.broker, "draining", replicas=round(WORKERS * scale))
        workers = PlayedWorkers(fleet, world.broker, "draining", round(WORKERS * scale))
        reporting = asyncio.create_task(workers.run())
        try:
            figures = {"start_ms": await world.measure(world.start)}
            figures["takeover_ms"] = await world.measure(world.restart)
            figures["policies_ms"] = await world.measure(lambda: _add_policies(world, round(POLICIES * scale)))
            figures["tls_outage_ms"] = await world.measure(lambda: _outage(tls.broker, tls.context))
            figures["draining_ms"] = await world.measure(lambda: _drain(world, workers))
        finally:
            reporting.cancel()
    figures["large_vhost_ms"] = await world.measure(lambda: _add_large_vhost(world, round(QUEUES * scale)))
    await asyncio.to_thread(operator.stop)
    return figures


async def _large_scenes(world: World) -> dict[str, float]:
    figures = {"start_10k_ms": await world.measure(world.start)}
    figures["takeover_10k_ms"] = await world.measure(world.restart)
    figures["workers_10k_ms"] = await world.measure(lambda: _give_workers(world))
    await asyncio.to_thread(world.operator.stop)
    return figures


@dataclass
class _Tls:
    broker: PlayedBroker
    context: ssl.SSLContext


@asynccontextmanager
async def _tls_brokers(world: World, size: int) -> AsyncIterator[_Tls]:
    """Add TaskQueues, each on a broker of its own with TLS."""
    with tempfile.TemporaryDirectory() as directory:
        hosts = [f"127.0.1.{number + 1}" for number in range(size)]
        authority = Authority(Path(directory) / "authority")
        certificate = authority.issue("broker", "broker", hosts=hosts)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, certificate.with_suffix(".key"))
        async with played_broker(context) as broker:
            for number, host in enumerate(hosts):
                secret = f"tls-{number:03}"
                ca = authority.certificate_file.read_text()
                broker.vhosts[secret] = Vhost()
                world.fleet.add_broker(secret, broker, host=host, vhost=secret, ca__crt=ca)
                world.fleet.add_taskqueue(broker, secret, vhost=secret, secret=secret)
            yield _Tls(broker, context)


async def _outage(broker: PlayedBroker, context: ssl.SSLContext) -> None:
    step("an outage of all brokers with TLS")
    await broker.stop()
    await asyncio.sleep(OUTAGE_SECONDS)
    await broker.start(context)
    await asyncio.sleep(OUTAGE_SECONDS)


async def _add_policies(world: World, size: int) -> None:
    step(f"{size} policies")
    policies = [
        {
            "name": f"policy-{number}",
            "vhost": "/",
            "pattern": f"^other-{number}-.*$",
            "apply-to": "all",
            "definition": {"max-length": 1000},
            "priority": number,
        }
        for number in range(size)
    ]
    world.broker.vhosts["/"].add_all("policies", policies)
    await _read_again(world.broker, "/")


async def _add_large_vhost(world: World, size: int) -> None:
    step(f"a vhost of {size} queues")
    vhost = world.broker.vhosts.setdefault("large", Vhost())
    names = [f"other-{number}" for number in range(size)]
    vhost.add_all("queues", [queue(name, {"x-queue-type": "quorum"}) for name in names])
    binding = {"source": "amq.topic", "destination_type": "queue", "routing_key": "#", "arguments": {}}
    vhost.add_all("bindings", [{**binding, "destination": name} for name in names])
    world.fleet.add_broker("large", world.broker, vhost="large")
    world.fleet.add_taskqueue(world.broker, "large", vhost="large", secret="large")
    await _read_again(world.broker, "large")


async def _read_again(broker: PlayedBroker, vhost: str) -> None:
    """Wait until the topology of a vhost has been read once more; policies are the last of its listings."""
    reads = broker.vhosts[vhost].reads.get("policies", 0)

    async def has_read() -> bool:
        return broker.vhosts[vhost].reads.get("policies", 0) > reads

    await eventually(has_read, "the topology is read", seconds=TIMEOUT_SECONDS, every=0.5)


async def _drain(world: World, workers: PlayedWorkers) -> None:
    step("draining all workers")
    world.fleet.set_minimum("draining", 0)

    async def are_draining() -> bool:
        return len(workers.draining) >= 1

    await eventually(are_draining, "workers drain", seconds=TIMEOUT_SECONDS, every=0.5)
    await asyncio.sleep(DRAINING_SECONDS)
    step(f"{len(workers.draining)} workers drain")


async def _give_workers(world: World) -> None:
    names = [name for _, name in world.fleet.objects.taskqueues.items]
    step(f"a worker for each of {len(names)} TaskQueues")
    for number, name in enumerate(names):
        world.fleet.set_replicas(name, 1)
        if number % 50 == 0:
            await asyncio.sleep(0.05)
    await asyncio.sleep(30)
