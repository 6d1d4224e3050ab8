"""A TaskQueue whose number of workers a benchmark sets, with the reports of the workers and the history of the pods."""

import asyncio
from asyncio import to_thread
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

import aio_pika
from aio_pika.abc import AbstractChannel
from kubernetes.aio.client import ApiClient, CustomObjectsApi

from taskqueue_operator.resource.names import GROUP, PLURAL, VERSION
from taskqueue_worker import Publisher
from tests.bench import api_server
from tests.bench.pod_history import PodHistory
from tests.bench.reports import Reports, watch_reports
from tests.bench.resource_requests import RESOURCES
from tests.bench.usage import Container
from tests.e2e.application import NAME, TASKQUEUE_WORKER, Application
from tests.e2e.cluster_broker import ClusterBroker
from tests.e2e.tenant import Tenant

TASK_TIMEOUT_SECONDS: Final = 300
TIMEOUT_SECONDS: Final = 60


@dataclass(frozen=True)
class BenchmarkQueue:
    """One TaskQueue that scales in at once, and does not scale out for messages."""

    tenant: Tenant
    client: ApiClient
    reports: Reports
    history: PodHistory
    publisher: Publisher
    channel: AbstractChannel

    async def set_bounds(self, min_replicas: int, max_replicas: int) -> None:
        """Set the bounds for the number of workers; returns when the API server has stored them."""
        await CustomObjectsApi(self.client).patch_namespaced_custom_object(
            GROUP,
            VERSION,
            self.tenant.namespace,
            PLURAL,
            NAME,
            {"spec": {"scaling": {"minReplicas": min_replicas, "maxReplicas": max_replicas}}},
            _content_type="application/merge-patch+json",
        )

    async def publish(self, count: int, *, seconds: float) -> None:
        """Publish tasks that run for `seconds` each."""
        await asyncio.gather(*(self._publish(seconds) for _ in range(count)))

    async def until_ready(self, messages: int) -> None:
        """Wait until the queue has so many ready messages; polls without a pause."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while await self._ready() != messages:
                pass

    async def only_pod(self) -> Container:
        """Find the only worker."""
        return await Container.find(self.client, self.tenant.namespace, "")

    async def replace(self, pod: str) -> None:
        """Delete a pod, and wait until it is deleted and another one consumes."""
        await to_thread(self.tenant.kubectl, "delete", "pod", pod, "--wait=true")
        await self.reports.until(1, "consuming")

    async def _publish(self, seconds: float) -> None:
        identity = uuid4().hex
        message = self.tenant.application.message(identity, seconds)
        await self.publisher.publish(
            NAME, NAME, message.payload, type="audited", message_id=identity, headers=message.headers
        )

    async def _ready(self) -> int:
        declared = await self.channel.declare_queue(NAME, passive=True)
        return declared.declaration_result.message_count or 0


@asynccontextmanager
async def benchmark_queue(
    broker: ClusterBroker, prefetch: int, application: Application = TASKQUEUE_WORKER
) -> AsyncIterator[BenchmarkQueue]:
    """Return a TaskQueue whose workers run one task at a time."""
    tenant = Tenant(broker.cluster, broker.api, broker.address, f"drain-{uuid4().hex[:6]}", application)
    uri = f"{broker.address.on_host}/{tenant.namespace}"
    await to_thread(tenant.set_up)
    try:
        await to_thread(_create, tenant, prefetch)
        async with (
            api_server.admin_client(broker.cluster) as client,
            api_server.watch_pods(broker.cluster, tenant.namespace) as history,
            watch_reports(uri, f"{tenant.namespace}/{NAME}") as reports,
            Publisher(uri) as publisher,
            await aio_pika.connect(uri, timeout=30) as connection,
            connection.channel() as channel,
        ):
            yield BenchmarkQueue(tenant, client, reports, history, publisher, channel)
    finally:
        await to_thread(tenant.tear_down)
        await to_thread(tenant.wait_for_pods_deleted)


def _create(tenant: Tenant, prefetch: int) -> None:
    tenant.apply(
        worker={
            "concurrency": 1,
            "prefetch": prefetch,
            "taskTimeoutSeconds": TASK_TIMEOUT_SECONDS,
            "resources": RESOURCES,
        },
        minReplicas=1,
        maxReplicas=1,
        readyPerReplica=1000,
        behavior={"scaleDown": {"stabilizationWindowSeconds": 0}},
    )
    tenant.until_ready()
