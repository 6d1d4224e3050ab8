"""The installed operator: as a process of this machine, and what it tells of itself."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from aiohttp import ClientError
from kubernetes.aio.client import ApiClient, ApiException, AppsV1Api, CoreV1Api
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.bench import api_server
from tests.bench.usage import Container
from tests.bench.waiting import eventually
from tests.cluster.installation import RELEASE, SYSTEM
from tests.cluster.lane import Cluster

_LABELS = f"app.kubernetes.io/instance={RELEASE}"
_PATIENCE_SECONDS = 180
"""Killed again and again, it is started again later and later."""


class Operator:
    """The operator that Helm has installed, on whatever start it is."""

    def __init__(self, client: ApiClient, container: Container) -> None:
        self._client = client
        self.container = container

    async def samples(self, name: str) -> list[Sample]:
        """Read its metric of this name; nothing if it does not answer (yet)."""
        try:
            # By way of the API server: pods have no address on this machine.
            page = await CoreV1Api(self._client).connect_get_namespaced_pod_proxy_with_path(
                f"{self.container.pod}:8080", SYSTEM, "metrics", _request_timeout=10.0
            )
        except (ApiException, ClientError, TimeoutError):
            return []
        families = text_string_to_metric_families("\n".join(line for line in page.splitlines() if name in line))
        return [sample for family in families for sample in family.samples if sample.name == name]

    async def writes(self) -> float:
        """Count, by its own account, what it has written to Kubernetes and RabbitMQ since it was started."""
        return sum(sample.value for sample in await self.samples("taskqueue_writes_total"))

    async def restart(self) -> None:
        """Kill it without warning, and find it again as soon as the kubelet has started it."""
        killed = self.container
        os.kill(killed.processes()[0], signal.SIGKILL)
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while self.container == killed:
                await asyncio.sleep(0.1)
                self.container = await Container.find(self._client, SYSTEM, _LABELS)

    @asynccontextmanager
    async def absent(self) -> AsyncIterator[None]:
        """Take it away while inside, and find it again as soon as it is ready."""
        await scale(self._client, 0)
        try:
            yield
        finally:
            await scale(self._client, 1)
            self.container = await Container.find(self._client, SYSTEM, _LABELS)

    @contextmanager
    def on_one_core(self) -> Iterator[None]:
        """Leave it one core while inside."""
        cores = os.sched_getaffinity(self.container.processes()[0])
        self._confine({max(cores)})
        try:
            yield
        finally:
            self._confine(cores)

    def _confine(self, cores: set[int]) -> None:
        tasks = [Path(f"/proc/{pid}/task") for pid in self.container.processes()]
        for thread in (int(entry.name) for task in tasks for entry in task.iterdir()):
            with suppress(ProcessLookupError):  # it ended meanwhile
                os.sched_setaffinity(thread, cores)


async def scale(client: ApiClient, replicas: int) -> None:
    """Have so many of them, all ready, and no other left."""
    deployments = AppsV1Api(client)

    async def scaled() -> bool:
        status = (await deployments.read_namespaced_deployment(RELEASE, SYSTEM)).status
        pods = (await CoreV1Api(client).list_namespaced_pod(SYSTEM, label_selector=_LABELS)).items
        return len(pods) == replicas == int((status and status.ready_replicas) or 0)

    await deployments.patch_namespaced_deployment_scale(RELEASE, SYSTEM, {"spec": {"replicas": replicas}})
    await eventually(scaled, f"the operator at {replicas}", seconds=_PATIENCE_SECONDS, every=0.2)


@asynccontextmanager
async def operator(cluster: Cluster) -> AsyncIterator[Operator]:
    """Lend a look at the operator."""
    async with api_server.administrator(cluster) as client:
        yield Operator(client, await Container.find(client, SYSTEM, _LABELS))
