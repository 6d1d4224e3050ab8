"""Lists everything now and then, because a watch may lose an event and then keeps silent about it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final

import structlog

from taskqueue_operator.resource.faults import Fault
from taskqueue_operator.resource.names import Key

from .cache import Cache
from .ports import Body, Cluster

PERIOD: Final = 600.0
PORTION: Final = 20


class Resync:
    """Brings the cache to what the API server lists, and has every TaskQueue looked at again."""

    def __init__(self, cache: Cache, cluster: Cluster, touched: Callable[[Key], None]) -> None:
        self._cache = cache
        self._cluster = cluster
        self._touched = touched

    async def run(self) -> None:
        """List everything each ten minutes, until cancelled."""
        while True:
            await asyncio.sleep(PERIOD)
            try:
                await self.once()
            except Fault as fault:
                structlog.get_logger("resync").warning("not listed", reason=fault.reason, detail=fault.message)

    async def once(self) -> None:
        """List everything; what was known before the listing and is not in it is gone."""
        cache = self._cache
        cache.forget_gone()
        taskqueues_known = {key: seen.uid for key, seen in cache.taskqueues.items()}
        deployments_known = {key: there.uid for key, there in cache.deployments.items()}
        pods_known = set(cache.all_pods())
        taskqueues = {cache.see_taskqueue(body) async for body in _gently(await self._cluster.list_taskqueues())}
        deployments = {cache.see_deployment(body) async for body in _gently(await self._cluster.list_deployments())}
        pods = {(cache.see_pod(body), _key(body)) async for body in _gently(await self._cluster.list_pods())}
        for key in taskqueues_known.keys() - taskqueues:
            cache.lose_taskqueue(key, taskqueues_known[key])
        for key in deployments_known.keys() - deployments:
            cache.lose_deployment(key, deployments_known[key])
        for owner, pod in pods_known - pods:
            cache.drop_pod(owner, pod)
        for key in taskqueues_known.keys() | taskqueues:
            self._touched(key)


async def _gently(bodies: list[Body]) -> AsyncIterator[Body]:
    """Go through a listing in small portions: decisions are not to wait until thousands of objects are parsed."""
    for n, body in enumerate(bodies):
        if n % PORTION == 0:
            await asyncio.sleep(0)
        yield body


def _key(body: dict[str, dict[str, str]]) -> Key:
    return Key(body["metadata"]["namespace"], body["metadata"]["name"])
