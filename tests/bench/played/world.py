"""A played cluster with one broker, and the real operator, whose event loop is measured scene by scene."""

import asyncio
import json
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

from tests.bench.lateness import Histogram
from tests.bench.played.api_server import PlayedApiServer
from tests.bench.played.broker import PlayedBroker, played_broker
from tests.bench.played.fleet import PlayedFleet
from tests.bench.played.objects import Objects
from tests.bench.polling import eventually
from tests.cluster.certificates import Authority
from tests.cluster.progress import step
from tests.integration.harness.operator_process import OperatorProcess

TIMEOUT_SECONDS: Final = 600
SETTLE_SECONDS: Final = 5
"""After the end of a scene: what it caused ends too."""
SCRAPE_PERIOD_SECONDS: Final = 10
"""Time between two scrapes while the operator starts; Prometheus takes 15 s or more."""
_METRIC: Final = "taskqueue_event_loop_lag_seconds"


@dataclass
class World:
    """A played cluster with one broker, and an operator.

    Attributes:
        samples: Number of heartbeats that were measured.
    """

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
        self._before = Histogram({}, 0)
        await start(self.operator, len(self.fleet.objects.taskqueues.items))

    async def restart(self) -> None:
        """End the operator, and start it again."""
        await asyncio.to_thread(self.operator.stop)
        await self.start()

    async def _lags(self) -> Histogram:
        samples = await _samples(self.operator, _METRIC)
        buckets = {float(labels["le"]): value for name, labels, value in samples if name.endswith("_bucket")}
        return Histogram(buckets, sum(value for name, _, value in samples if name.endswith("_sum")))


async def start(operator: OperatorProcess, taskqueues: int) -> None:
    """Start an operator, and wait until it has verified all TaskQueues."""
    step(f"starting the operator with {taskqueues} TaskQueues")
    await asyncio.to_thread(operator.launch)

    async def reconciled() -> bool:
        if operator.process is not None and operator.process.poll() is not None:
            raise RuntimeError(f"the operator has ended: {operator.log.read_text()[-2000:]}")
        return await successful_reconciles(operator) >= taskqueues

    what = "every TaskQueue is verified"
    await eventually(reconciled, what, seconds=TIMEOUT_SECONDS, every=SCRAPE_PERIOD_SECONDS)


async def successful_reconciles(operator: OperatorProcess) -> float:
    """Return how many reconciles have succeeded; 0 while the operator does not answer."""
    samples = await _samples(operator, "taskqueue_reconciles")
    return sum(value for _, labels, value in samples if labels["result"] == "success")


async def _samples(operator: OperatorProcess, family: str) -> list[tuple[str, dict[str, str], float]]:
    try:
        async with httpx.AsyncClient(timeout=30) as client:
            page = (await client.get(f"http://127.0.0.1:{operator.port}/metrics")).text
    except httpx.TransportError:
        return []
    lines = "\n".join(line for line in page.splitlines() if line.startswith(family))
    found = text_string_to_metric_families(lines)
    return [(sample.name, sample.labels, sample.value) for metric in found for sample in metric.samples]


@asynccontextmanager
async def played_world(size: int) -> AsyncIterator[World]:
    """Serve a cluster with this many TaskQueues while the context lasts; the operator is not started."""
    objects = Objects()
    fleet = PlayedFleet(objects)
    with tempfile.TemporaryDirectory() as directory:
        async with api_server(objects, Path(directory)) as kubeconfig, played_broker() as broker:
            operator = OperatorProcess(kubeconfig, Path(directory))
            fleet.add_broker("rabbitmq", broker)
            for number in range(size):
                fleet.add_taskqueue(broker, f"queue-{number:05}")
            try:
                yield World(fleet, broker, operator)
            finally:
                if operator.process is not None and operator.process.poll() is None:
                    operator.kill()
                _show_stretches(operator)


@asynccontextmanager
async def api_server(objects: Objects, directory: Path) -> AsyncIterator[Path]:
    """Serve the objects with TLS, as every API server does; yields a kubeconfig."""
    authority = Authority(directory / "authority")
    certificate = authority.issue("api", "api", hosts=["127.0.0.1"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    runner = web.AppRunner(PlayedApiServer(objects).application(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield _kubeconfig(directory, runner.addresses[0][1], authority.certificate_file)
    finally:
        await runner.cleanup()


def _kubeconfig(directory: Path, port: int, authority: Path) -> Path:
    file = directory / "kubeconfig"
    cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority": str(authority)}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "played",
        "clusters": [{"name": "played", "cluster": cluster}],
        "contexts": [{"name": "played", "context": {"cluster": "played", "user": "played"}}],
        "users": [{"name": "played", "user": {"token": "played"}}],
    }
    file.write_text(json.dumps(config))
    return file


def _show_stretches(operator: OperatorProcess) -> None:
    """Show the stretches that the operator named."""
    for line in operator.log.read_text().splitlines() if operator.log.exists() else ():
        if "event loop held" in line:
            step(line)
