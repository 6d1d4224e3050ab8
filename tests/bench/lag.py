"""How long the operator's event loop is held in one piece, in scenes of large fleets and of many broken brokers.

API server and brokers are played by this process, as no test machine holds such fleets; the operator is the real one,
as a process of its own.
"""

import asyncio
import json
import math
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from tests.bench.context import Context
from tests.bench.lateness import Histogram
from tests.bench.played.api_server import PlayedApiServer
from tests.bench.played.broker import PlayedBroker, played_broker, queue
from tests.bench.played.fleet import PlayedFleet, PlayedWorkers
from tests.bench.played.objects import Objects
from tests.bench.polling import eventually
from tests.bench.result import Result, Target
from tests.cluster.certificates import Authority
from tests.cluster.progress import step
from tests.integration.harness.operator_process import OperatorProcess

TARGETS: Final = {"max_stretch_ms": Target("<=", 50), "max_stretch_10k_ms": Target("<=", 200)}
POLICIES: Final = 1000
TLS_BROKERS: Final = 250
WORKERS: Final = 500
QUEUES: Final = 50_000
TIMEOUT_SECONDS: Final = 600
OUTAGE_SECONDS: Final = 20
SETTLE_SECONDS: Final = 5
"""After the end of a scene: what it caused ends too."""
_METRIC: Final = "taskqueue_event_loop_lag_seconds"


async def run(context: Context) -> Result:
    """Play all scenes with `size` TaskQueues, and those of large fleets with ten times as many."""
    figures: dict[str, float] = {}
    async with _world(context.size) as world:
        figures |= await _small_scenes(world, context.size)
    figures["max_stretch_ms"] = max(figures.values())
    async with _world(10 * context.size) as world:
        large = await _large_scenes(world)
    figures |= large | {"max_stretch_10k_ms": max(large.values()), "taskqueues": context.size}
    return Result(figures, samples=world.samples, targets=TARGETS)


async def _small_scenes(world: "World", size: int) -> dict[str, float]:
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
    operator.stop()
    return figures


async def _large_scenes(world: "World") -> dict[str, float]:
    figures = {"start_10k_ms": await world.measure(world.start)}
    figures["takeover_10k_ms"] = await world.measure(world.restart)
    figures["workers_10k_ms"] = await world.measure(lambda: _give_workers(world))
    world.operator.stop()
    return figures


@dataclass
class World:
    """A played cluster with one broker, and an operator."""

    fleet: PlayedFleet
    broker: PlayedBroker
    operator: OperatorProcess
    samples: int = 0
    _before: Histogram = field(default_factory=lambda: Histogram({}, 0))

    async def measure(self, play: Callable[[], Awaitable[None]]) -> float:
        """Play a scene; returns the longest stretch in milliseconds, as the bound of a bucket."""
        self._before = await self._lags()
        await play()
        await asyncio.sleep(SETTLE_SECONDS)
        lags = (await self._lags()).since(self._before)
        self.samples += round(lags.count)
        longest = lags.not_above(1) * 1000
        step(f"longest stretch {longest:.0f} ms")
        return longest

    async def start(self) -> None:
        """Start the operator, and wait until it has verified all TaskQueues."""
        step(f"starting the operator with {len(self.fleet.objects.taskqueues.items)} TaskQueues")
        self._before = Histogram({}, 0)
        await asyncio.to_thread(self.operator.start)

        async def reconciled() -> bool:
            if self.operator.process is not None and self.operator.process.poll() is not None:
                raise RuntimeError(f"the operator has ended: {self.operator.log.read_text()[-2000:]}")
            return await self._reconciles() >= len(self.fleet.objects.taskqueues.items)

        await eventually(reconciled, "every TaskQueue is verified", seconds=TIMEOUT_SECONDS, every=1)

    async def restart(self) -> None:
        """End the operator, and start it again."""
        await asyncio.to_thread(self.operator.stop)
        await self.start()

    async def _lags(self) -> Histogram:
        samples = await self._samples(_METRIC)
        buckets = {float(labels["le"]): value for name, labels, value in samples if name.endswith("_bucket")}
        return Histogram(buckets, sum(value for name, _, value in samples if name.endswith("_sum")))

    async def _reconciles(self) -> float:
        samples = await self._samples("taskqueue_reconciles")
        return sum(value for _, labels, value in samples if labels["result"] == "success")

    async def _samples(self, family: str) -> list[tuple[str, dict[str, str], float]]:
        try:
            async with httpx.AsyncClient(timeout=30) as client:
                page = (await client.get(f"http://127.0.0.1:{self.operator.port}/metrics")).text
        except httpx.TransportError:
            return []
        lines = "\n".join(line for line in page.splitlines() if line.startswith(family))
        found = text_string_to_metric_families(lines)
        return [(sample.name, sample.labels, sample.value) for metric in found for sample in metric.samples]


@asynccontextmanager
async def _world(size: int) -> AsyncIterator[World]:
    objects = Objects()
    fleet = PlayedFleet(objects)
    runner = web.AppRunner(PlayedApiServer(objects).application(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        async with played_broker() as broker:
            with tempfile.TemporaryDirectory() as directory:
                operator = OperatorProcess(_kubeconfig(Path(directory), runner.addresses[0][1]), Path(directory))
                fleet.add_broker("rabbitmq", broker)
                for number in range(size):
                    fleet.add_taskqueue(broker, f"queue-{number:05}")
                try:
                    yield World(fleet, broker, operator)
                finally:
                    if operator.process is not None and operator.process.poll() is None:
                        operator.kill()
                    _keep_log(operator)
    finally:
        await runner.cleanup()


def _kubeconfig(directory: Path, port: int) -> Path:
    file = directory / "kubeconfig"
    cluster = {"name": "played", "cluster": {"server": f"http://127.0.0.1:{port}"}}
    context = {"name": "played", "context": {"cluster": "played", "user": "played"}}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "played",
        "clusters": [cluster],
        "contexts": [context],
        "users": [{"name": "played", "user": {"token": "played"}}],
    }
    file.write_text(json.dumps(config))
    return file


def _keep_log(operator: OperatorProcess) -> None:
    """Show the stretches that the operator named."""
    for line in operator.log.read_text().splitlines() if operator.log.exists() else ():
        if "event loop held" in line:
            step(line)


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
                world.fleet.add_broker(secret, broker, host=host, ca__crt=authority.certificate_file.read_text())
                world.fleet.add_taskqueue(broker, secret, secret=secret)
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
    vhost = world.broker.vhosts.setdefault("large", type(world.broker.vhosts["/"])())
    names = [f"other-{number}" for number in range(size)]
    vhost.add_all("queues", [queue(name, {"x-queue-type": "quorum"}) for name in names])
    binding = {"source": "amq.topic", "destination_type": "queue", "routing_key": "#", "arguments": {}}
    vhost.add_all("bindings", [{**binding, "destination": name} for name in names])
    world.fleet.add_broker("large", world.broker, vhost="large")
    world.fleet.add_taskqueue(world.broker, "large", vhost="large", secret="large")
    await _read_again(world.broker, "large")


async def _read_again(broker: PlayedBroker, vhost: str) -> None:
    """Wait until the topology of a vhost has been read twice more."""
    reads = broker.vhosts[vhost].reads.get("bindings", 0)

    async def has_read() -> bool:
        return broker.vhosts[vhost].reads.get("bindings", 0) >= reads + 2

    await eventually(has_read, "the topology is read", seconds=TIMEOUT_SECONDS, every=0.5)


async def _drain(world: World, workers: PlayedWorkers) -> None:
    step("draining all workers")
    world.fleet.set_minimum("draining", 0)

    async def are_draining() -> bool:
        return len(workers.draining) >= 1

    await eventually(are_draining, "workers drain", seconds=TIMEOUT_SECONDS, every=0.5)
    await asyncio.sleep(60)
    step(f"{len(workers.draining)} workers drain")


async def _give_workers(world: World) -> None:
    names = [name for _, name in world.fleet.objects.taskqueues.items]
    step(f"a worker for each of {len(names)} TaskQueues")
    for name in names:
        world.fleet.set_replicas(name, 1)
        if math.fmod(int(name[-3:]), 50) == 0:
            await asyncio.sleep(0.05)
    await asyncio.sleep(30)
