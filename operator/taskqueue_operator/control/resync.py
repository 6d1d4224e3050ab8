"""Lists all objects periodically: a watch may lose an event without an error."""

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import chain, repeat
from typing import Final

import structlog

from taskqueue_operator.resource.faults import Fault
from taskqueue_operator.resource.names import Key

from .cache import Cache
from .ports import Body, Cluster

RESYNC_PERIOD_SECONDS: Final = 600.0
SECOND_LISTING_SECONDS: Final = 30.0
"""After the start: no watch shows what is deleted between the first listing and the start of the watch."""
BATCH_SIZE: Final = 20

_log = structlog.get_logger("resync")


class Resync:
    """Updates the cache to what the API server lists, and requests reconciles."""

    def __init__(self, cache: Cache, cluster: Cluster, request_reconcile: Callable[[Key], None]) -> None:
        self._cache = cache
        self._cluster = cluster
        self._request_reconcile = request_reconcile

    async def run(self) -> None:
        """List all objects periodically, until cancelled."""
        for seconds, only_missed in chain([(SECOND_LISTING_SECONDS, True)], repeat((RESYNC_PERIOD_SECONDS, False))):
            await asyncio.sleep(seconds)
            try:
                await self.once(only_missed=only_missed)
            except Fault as fault:
                _log.warning("resync failed", reason=fault.reason, detail=fault.message)

    async def once(self, *, only_missed: bool = False) -> None:
        """List all objects, and remove from the cache what was in it before and is not listed.

        Args:
            only_missed: Reconcile only the TaskQueues that are new, and those of which an object is gone, not all.

        Raises:
            Fault: The API server cannot be used.
        """
        cache = self._cache
        cache.forget_removed()
        taskqueues_before = {key: cached.uid for key, cached in cache.taskqueues.items()}
        deployments_before = dict(cache.deployments)
        pods_before = set(cache.all_pods())
        taskqueues = {cache.update_taskqueue(body) async for body in _in_batches(await self._cluster.list_taskqueues())}
        deployments = await self._update_deployments()
        pods = {(cache.update_pod(body), _key(body)) async for body in _in_batches(await self._cluster.list_pods())}
        unknown = self._cluster.forbidden_namespaces()
        missed = taskqueues - taskqueues_before.keys()
        for key in taskqueues_before.keys() - taskqueues:
            if key.namespace not in unknown:
                cache.remove_taskqueue(key, taskqueues_before[key])
                missed.add(key)
        for key in deployments_before.keys() - deployments:
            if key.namespace not in unknown:
                cache.remove_deployment(key, deployments_before[key].uid)
                missed.add(deployments_before[key].taskqueue_key)
        for owner, pod in pods_before - pods:
            if owner.namespace not in unknown:
                cache.discard_pod(owner, pod)
                missed.add(owner)
        for key in missed if only_missed else taskqueues_before.keys() | taskqueues:
            self._request_reconcile(key)

    async def _update_deployments(self) -> set[Key]:
        listed = set()
        async for body in _in_batches(await self._cluster.list_deployments()):
            self._cache.update_deployment(body)
            listed.add(_key(body))
        return listed


async def _in_batches(bodies: list[Body]) -> AsyncIterator[Body]:
    """Yield the bodies of a listing, and yield to other tasks now and then: parsing thousands delays decisions."""
    for n, body in enumerate(bodies):
        if n % BATCH_SIZE == 0:
            await asyncio.sleep(0)
        yield body


def _key(body: dict[str, dict[str, str]]) -> Key:
    return Key(body["metadata"]["namespace"], body["metadata"]["name"])
