"""Many TaskQueues in one namespace and one vhost; none of their workers ever starts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from kubernetes.aio.client import AppsV1Api, CustomObjectsApi

from taskqueue_operator.resource.names import ANNOTATION_DIGEST, ANNOTATION_STARTED, GROUP, PLURAL, VERSION
from tests.bench import api_server
from tests.bench.polling import eventually
from tests.cluster.installation import create_namespace, create_secret
from tests.cluster.progress import working
from tests.e2e.cluster_broker import ClusterBroker

NAMESPACE = VHOST = "bench"
MAX_REPLICAS = 20
QUIET_SECONDS = 35
"""Longer than the 30 s for which the operator delays status updates with new figures."""
TIMEOUT_SECONDS = 900

_PARALLEL_REQUESTS = 8
"""A bound for our load on the API server."""
_TASKQUEUES = (GROUP, VERSION, NAMESPACE, PLURAL)


class Fleet:
    """TaskQueues that need one worker for each message."""

    def __init__(self, broker: ClusterBroker, size: int) -> None:
        self.names = [f"queue-{number:04}" for number in range(size)]
        self.uri = f"{broker.address.on_host}/{VHOST}"
        """For publishers on this machine."""
        self.cluster = broker.cluster

    async def scale_to_zero(self) -> None:
        """Wait until all have zero workers and the operator writes nothing more."""
        await self._scale(0)

    async def scale_to_one(self) -> None:
        """Wait until all have one worker, with any backlog, and the operator writes nothing more."""
        await self._scale(1)

    async def mark_started(self, names: list[str]) -> None:
        """Say that a worker of each has been ready: here none ever is, and three would try its version first."""
        async with api_server.admin_client(self.cluster) as client:
            apps = AppsV1Api(client)
            for name in names:
                deployment = await apps.read_namespaced_deployment(name, NAMESPACE)
                assert deployment.metadata is not None
                assert deployment.metadata.annotations is not None
                annotations = {ANNOTATION_STARTED: deployment.metadata.annotations[ANNOTATION_DIGEST]}
                await apps.patch_namespaced_deployment(name, NAMESPACE, {"metadata": {"annotations": annotations}})

    async def _scale(self, workers: int) -> None:
        with working(f"scaling {len(self.names)} TaskQueues to {workers} workers each"):
            await self._apply(workers)
            scaled, quiet = f"{workers} workers each", f"{QUIET_SECONDS} s without a write"
            await eventually(lambda: self._are_at(workers), scaled, seconds=TIMEOUT_SECONDS, every=2)
            await eventually(self._is_quiet, quiet, seconds=TIMEOUT_SECONDS, every=0)

    async def _apply(self, workers: int) -> None:
        limit = asyncio.Semaphore(_PARALLEL_REQUESTS)

        async def apply(taskqueues: CustomObjectsApi, name: str) -> None:
            async with limit:
                await taskqueues.patch_namespaced_custom_object(
                    *_TASKQUEUES,
                    name,
                    _taskqueue(name, workers),
                    field_manager="bench",
                    _content_type="application/apply-patch+yaml",
                )

        async with api_server.admin_client(self.cluster) as client, asyncio.TaskGroup() as group:
            for name in self.names:
                group.create_task(apply(CustomObjectsApi(client), name))

    async def _are_at(self, workers: int) -> bool:
        """Return whether the status of each TaskQueue reports so many workers for its current spec."""
        async with api_server.admin_client(self.cluster) as client:
            listed = await _list(CustomObjectsApi(client))
        return all(_is_at(taskqueue, workers) for taskqueue in listed)

    async def _is_quiet(self) -> bool:
        """Return whether no client writes for a while any object that the operator writes."""
        written = api_server.writes(self.cluster, NAMESPACE)
        await asyncio.sleep(QUIET_SECONDS)
        return written == api_server.writes(self.cluster, NAMESPACE)


@asynccontextmanager
async def create_fleet(broker: ClusterBroker, size: int) -> AsyncIterator[Fleet]:
    """Return a fleet; its first scaling creates the TaskQueues."""
    await _remove(broker)  # what a killed run left
    try:
        broker.api.create_vhost(VHOST)
        create_namespace(broker.cluster, NAMESPACE)
        create_secret(broker.cluster, NAMESPACE, f"amqp://guest:guest@{broker.address.in_cluster}/{VHOST}")
        yield Fleet(broker, size)
    finally:
        with working("removing the TaskQueues"):
            await _remove(broker)


async def _remove(broker: ClusterBroker) -> None:
    await _delete_taskqueues(broker)
    broker.cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", f"--timeout={TIMEOUT_SECONDS}s")
    # Create first: the deletion of a missing vhost is an error.
    broker.api.create_vhost(VHOST)
    broker.api.delete_vhost(VHOST)


async def _delete_taskqueues(broker: ClusterBroker) -> None:
    """Delete them while their Secret exists, and wait until the operator has removed all finalizers."""
    async with api_server.admin_client(broker.cluster) as client:
        taskqueues = CustomObjectsApi(client)

        async def deleted() -> bool:
            return not await _list(taskqueues)

        await taskqueues.delete_collection_namespaced_custom_object(*_TASKQUEUES)
        await eventually(deleted, "all TaskQueues are deleted", seconds=TIMEOUT_SECONDS, every=2)


async def _list(taskqueues: CustomObjectsApi) -> list[dict[str, Any]]:
    listed: dict[str, Any] = await taskqueues.list_namespaced_custom_object(*_TASKQUEUES)  # type: ignore[assignment]  # typed as object
    items: list[dict[str, Any]] = listed["items"]
    return items


def _taskqueue(name: str, workers: int) -> dict[str, Any]:
    # Scheduler and kubelet ignore a pod with a scheduling gate: no worker takes CPU from the operator.
    gated = {"spec": {"schedulingGates": [{"name": "taskqueue.dev/bench"}]}}
    return {
        "apiVersion": "taskqueue.dev/v1alpha1",
        "kind": "TaskQueue",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "broker": {"secretRef": {"name": "rabbitmq"}},
            "worker": {"image": "localhost/never-started:bench", "podTemplate": gated},
            "scaling": {
                "minReplicas": workers,
                "maxReplicas": MAX_REPLICAS,
                "readyPerReplica": 1,
                "idleSeconds": 0,
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
            },
        },
    }


def _is_at(taskqueue: dict[str, Any], workers: int) -> bool:
    status = taskqueue.get("status", {})
    current = status.get("observedGeneration") == taskqueue["metadata"]["generation"]
    return bool(current and status.get("replicas") == status.get("desiredReplicas") == workers)
