"""A TaskQueue whose number of workers a benchmark sets, with ears for what these do and eyes for what the API shows."""

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
from tests.bench.reports import Reports, overheard
from tests.bench.sightings import Sightings
from tests.bench.stage import Stage
from tests.bench.usage import Container
from tests.e2e.tenant import NAME, Tenant

TASK_TIMEOUT_SECONDS: Final = 300
PATIENCE_SECONDS: Final = 60


@dataclass(frozen=True)
class Station:
    """One TaskQueue, which scales in at once, and for which messages are no reason to scale out."""

    tenant: Tenant
    client: ApiClient
    reports: Reports
    sightings: Sightings
    publisher: Publisher
    channel: AbstractChannel

    async def ask(self, least: int, most: int) -> None:
        """Set the bounds for the number of workers; returns when the API server has them."""
        await CustomObjectsApi(self.client).patch_namespaced_custom_object(
            GROUP,
            VERSION,
            self.tenant.namespace,
            PLURAL,
            NAME,
            {"spec": {"scaling": {"minReplicas": least, "maxReplicas": most}}},
            _content_type="application/merge-patch+json",
        )

    async def publish(self, count: int, *, seconds: float) -> None:
        """Publish tasks that take so long each."""
        body = {"seconds": seconds, "gate": None}
        await asyncio.gather(*(self.publisher.publish(NAME, NAME, body, type="audited") for _ in range(count)))

    async def until_ready(self, messages: int) -> None:
        """Wait until so many messages wait in the queue; without pause between looks."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await self._ready() != messages:
                pass

    async def only_pod(self) -> Container:
        """Find the worker there is, when there is one."""
        return await Container.find(self.client, self.tenant.namespace, "")

    async def replace(self, pod: str) -> None:
        """Delete a pod, and wait until it is gone and another one consumes."""
        await to_thread(self.tenant.kubectl, "delete", "pod", pod, "--wait=true")
        await self.reports.until(1, "consuming")

    async def _ready(self) -> int:
        declared = await self.channel.declare_queue(NAME, passive=True)
        return declared.declaration_result.message_count or 0


@asynccontextmanager
async def station(stage: Stage, *, prefetch: int) -> AsyncIterator[Station]:
    """Lend one whose workers run one task at once."""
    tenant = Tenant(*stage, f"drain-{uuid4().hex[:6]}")
    uri = f"{stage.address.on_host}/{tenant.namespace}"
    await to_thread(tenant.set_up)
    try:
        await to_thread(_begin, tenant, prefetch)
        async with (
            api_server.administrator(stage.cluster) as client,
            api_server.sighting(stage.cluster, tenant.namespace) as sightings,
            overheard(uri, f"{tenant.namespace}/{NAME}") as reports,
            Publisher(uri) as publisher,
            await aio_pika.connect(uri, timeout=30) as connection,
            connection.channel() as channel,
        ):
            yield Station(tenant, client, reports, sightings, publisher, channel)
    finally:
        await to_thread(tenant.tear_down)
        await to_thread(tenant.wait_for_pods_deleted)


def _begin(tenant: Tenant, prefetch: int) -> None:
    tenant.apply(
        worker={"concurrency": 1, "prefetch": prefetch, "taskTimeoutSeconds": TASK_TIMEOUT_SECONDS},
        minReplicas=1,
        maxReplicas=1,
        readyPerReplica=1000,
        behavior={"scaleDown": {"stabilizationWindowSeconds": 0}},
    )
    tenant.until_ready()
