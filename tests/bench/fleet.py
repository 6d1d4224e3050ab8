"""Many TaskQueues in a namespace and a vhost of their own; none of their workers ever starts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from kubernetes.aio.client import CustomObjectsApi

from taskqueue_operator.resource.names import GROUP, PLURAL, VERSION
from tests.bench import api_server
from tests.bench.stage import Stage
from tests.bench.waiting import eventually
from tests.cluster.installation import create_namespace, create_secret
from tests.cluster.progress import working

NAMESPACE = VHOST = "bench"
MOST_WORKERS = 20
QUIET_SECONDS = 35
"""Longer than the 30 s for which the operator holds back figures that have changed."""
PATIENCE_SECONDS = 900

_AT_ONCE = 8
"""Requests of ours to the API server, which has others to serve."""
_TASKQUEUES = (GROUP, VERSION, NAMESPACE, PLURAL)


class Fleet:
    """TaskQueues that need one worker per message."""

    def __init__(self, stage: Stage, size: int) -> None:
        self.names = [f"queue-{number:04}" for number in range(size)]
        self.uri = f"{stage.address.on_host}/{VHOST}"
        """Leads publishers on this machine to the queues."""
        self.stage = stage

    async def asleep(self) -> None:
        """Until all are at zero workers and the operator has no more to write about them."""
        await self._become(0)

    async def awake(self) -> None:
        """Until each is at one worker, whatever its queue holds, and likewise."""
        await self._become(1)

    async def _become(self, workers: int) -> None:
        with working(f"bringing {len(self.names)} TaskQueues to {workers} workers each"):
            await self._apply(workers)
            there, quiet = f"{workers} workers each", f"{QUIET_SECONDS} s without a write"
            await eventually(lambda: self._are_at(workers), there, seconds=PATIENCE_SECONDS, every=2)
            await eventually(self._is_quiet, quiet, seconds=PATIENCE_SECONDS, every=0)

    async def _apply(self, workers: int) -> None:
        turn = asyncio.Semaphore(_AT_ONCE)

        async def apply(taskqueues: CustomObjectsApi, name: str) -> None:
            async with turn:
                await taskqueues.patch_namespaced_custom_object(
                    *_TASKQUEUES,
                    name,
                    _taskqueue(name, workers),
                    field_manager="bench",
                    _content_type="application/apply-patch+yaml",
                )

        async with api_server.administrator(self.stage.cluster) as client, asyncio.TaskGroup() as group:
            for name in self.names:
                group.create_task(apply(CustomObjectsApi(client), name))

    async def _are_at(self, workers: int) -> bool:
        """Whether the operator says so, of the specs as they are."""
        async with api_server.administrator(self.stage.cluster) as client:
            listed = await _list(CustomObjectsApi(client))
        return all(_is_at(taskqueue, workers) for taskqueue in listed)

    async def _is_quiet(self) -> bool:
        """Whether nobody writes for a while what the operator might write."""
        written = api_server.writes(self.stage.cluster, NAMESPACE)
        await asyncio.sleep(QUIET_SECONDS)
        return written == api_server.writes(self.stage.cluster, NAMESPACE)


@asynccontextmanager
async def assembled(stage: Stage, size: int) -> AsyncIterator[Fleet]:
    """Lend a fleet; its TaskQueues come to be when it is first asked to be asleep or awake."""
    await _remove(stage)  # what a killed run left
    try:
        stage.broker.create_vhost(VHOST)
        create_namespace(stage.cluster, NAMESPACE)
        create_secret(stage.cluster, NAMESPACE, f"amqp://guest:guest@{stage.address.in_cluster}/{VHOST}")
        yield Fleet(stage, size)
    finally:
        with working("removing the TaskQueues"):
            await _remove(stage)


async def _remove(stage: Stage) -> None:
    await _delete_taskqueues(stage)
    stage.cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", f"--timeout={PATIENCE_SECONDS}s")
    # Made first: to delete what is not there is an error.
    stage.broker.create_vhost(VHOST)
    stage.broker.delete_vhost(VHOST)


async def _delete_taskqueues(stage: Stage) -> None:
    """Delete them while their Secret is there, until the operator has let go of all."""
    async with api_server.administrator(stage.cluster) as client:
        taskqueues = CustomObjectsApi(client)

        async def gone() -> bool:
            return not await _list(taskqueues)

        await taskqueues.delete_collection_namespaced_custom_object(*_TASKQUEUES)
        await eventually(gone, "all TaskQueues are gone", seconds=PATIENCE_SECONDS, every=2)


async def _list(taskqueues: CustomObjectsApi) -> list[dict[str, Any]]:
    listed: dict[str, Any] = await taskqueues.list_namespaced_custom_object(*_TASKQUEUES)  # type: ignore[assignment]  # any object, it says
    items: list[dict[str, Any]] = listed["items"]
    return items


def _taskqueue(name: str, workers: int) -> dict[str, Any]:
    # A pod with a gate is left alone by scheduler and kubelet: nothing starts that would take the operator's cores.
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
                "maxReplicas": MOST_WORKERS,
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
