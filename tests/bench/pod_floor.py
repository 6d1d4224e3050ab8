"""How long the cluster itself needs to remove pods: those of a Deployment whose processes end at once."""

import asyncio
import random
import time
from asyncio import to_thread
from dataclasses import replace
from typing import Final
from uuid import uuid4

from kubernetes.aio.client import ApiClient, AppsV1Api

from tests.bench import api_server
from tests.bench.drain_samples import LEAST, MOST, last_deletion
from tests.bench.pod_history import PodHistory
from tests.bench.unmanaged_workers import UnmanagedWorkers
from tests.e2e.application import NAME, Application
from tests.e2e.cluster_broker import ClusterBroker
from tests.e2e.tenant import Tenant

ENDS_AT_ONCE: Final = ("sh", "-c", "trap 'exit 0' TERM; sleep infinity & wait")
PAUSE_SECONDS: Final = (1.0, 2.0)
"""The kubelet looks at its containers once a second: the samples begin at any moment of that."""


async def pod_floors(broker: ClusterBroker, application: Application, samples: int) -> list[float]:
    """Return the seconds from fewer replicas until the last removed pod is deleted, of pods as the application has."""
    plain = replace(application, plain=True)
    tenant = Tenant(broker.cluster, broker.api, broker.address, f"floor-{uuid4().hex[:6]}", plain)
    await to_thread(tenant.set_up)
    try:
        await to_thread(UnmanagedWorkers(ENDS_AT_ONCE, 1, 1, MOST, 1, application=plain).create, tenant)
        async with (
            api_server.admin_client(broker.cluster) as client,
            api_server.watch_pods(broker.cluster, tenant.namespace) as history,
        ):
            return [await _sample(tenant, client, history) for _ in range(samples)]
    finally:
        await to_thread(tenant.tear_down)
        await to_thread(tenant.wait_for_pods_deleted)


async def _sample(tenant: Tenant, client: ApiClient, history: PodHistory) -> float:
    await _scale(tenant, client, MOST)
    await to_thread(tenant.until, lambda: tenant.ready_replicas() == MOST, "the pods run")
    await asyncio.sleep(random.uniform(*PAUSE_SECONDS))
    before, start = set(history.deleted_at), time.time()
    await _scale(tenant, client, LEAST)
    return await last_deletion(history, before) - start


async def _scale(tenant: Tenant, client: ApiClient, replicas: int) -> None:
    await AppsV1Api(client).patch_namespaced_deployment_scale(NAME, tenant.namespace, {"spec": {"replicas": replicas}})
