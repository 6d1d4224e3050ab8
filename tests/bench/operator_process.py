"""The installed operator: as a process of this machine, and its metrics."""

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
from tests.bench.polling import eventually
from tests.bench.usage import Container
from tests.cluster.installation import RELEASE, SYSTEM
from tests.cluster.provider import Cluster

_LABELS = f"app.kubernetes.io/instance={RELEASE}"
_TIMEOUT_SECONDS = 180
"""The kubelet waits longer before each further restart."""


class OperatorProcess:
    """The operator that Helm has installed, across its restarts."""

    def __init__(self, client: ApiClient, container: Container) -> None:
        self._client = client
        self.container = container

    async def samples(self, name: str) -> list[Sample]:
        """Return the samples of a metric; nothing if the operator does not respond (yet)."""
        try:
            # Through the API server: pods have no address on this machine.
            page = await CoreV1Api(self._client).connect_get_namespaced_pod_proxy_with_path(
                f"{self.container.pod}:8080", SYSTEM, "metrics", _request_timeout=10.0
            )
        except (ApiException, ClientError, TimeoutError):
            return []
        families = text_string_to_metric_families("\n".join(line for line in page.splitlines() if name in line))
        return [sample for family in families for sample in family.samples if sample.name == name]

    async def writes(self) -> float:
        """Return its own count of the writes to Kubernetes and RabbitMQ since its start."""
        return sum(sample.value for sample in await self.samples("taskqueue_writes_total"))

    async def restart(self) -> None:
        """Send SIGKILL, and wait until the kubelet has restarted the container."""
        killed = self.container
        os.kill(killed.processes()[0], signal.SIGKILL)
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            while self.container == killed:
                await asyncio.sleep(0.1)
                self.container = await Container.find(self._client, SYSTEM, _LABELS)

    @asynccontextmanager
    async def scaled_to_zero(self) -> AsyncIterator[None]:
        """Scale the operator to zero while inside, and back to one."""
        await scale(self._client, 0)
        try:
            yield
        finally:
            await scale(self._client, 1)
            self.container = await Container.find(self._client, SYSTEM, _LABELS)

    @contextmanager
    def on_one_core(self) -> Iterator[None]:
        """Restrict the operator to one core while inside."""
        cores = os.sched_getaffinity(self.container.processes()[0])
        self._set_affinity({max(cores)})
        try:
            yield
        finally:
            self._set_affinity(cores)

    def _set_affinity(self, cores: set[int]) -> None:
        tasks = [Path(f"/proc/{pid}/task") for pid in self.container.processes()]
        for thread in (int(entry.name) for task in tasks for entry in task.iterdir()):
            with suppress(ProcessLookupError):  # it has ended
                os.sched_setaffinity(thread, cores)


async def scale(client: ApiClient, replicas: int) -> None:
    """Scale the operator, and wait until exactly so many pods exist and are ready."""
    deployments = AppsV1Api(client)

    async def scaled() -> bool:
        status = (await deployments.read_namespaced_deployment(RELEASE, SYSTEM)).status
        pods = (await CoreV1Api(client).list_namespaced_pod(SYSTEM, label_selector=_LABELS)).items
        return len(pods) == replicas == int((status and status.ready_replicas) or 0)

    await deployments.patch_namespaced_deployment_scale(RELEASE, SYSTEM, {"spec": {"replicas": replicas}})
    await eventually(scaled, f"the operator at {replicas}", seconds=_TIMEOUT_SECONDS, every=0.2)


@asynccontextmanager
async def operator_process(cluster: Cluster) -> AsyncIterator[OperatorProcess]:
    """Find the operator on this machine."""
    async with api_server.admin_client(cluster) as client:
        yield OperatorProcess(client, await Container.find(client, SYSTEM, _LABELS))
