"""Which Deployments a HorizontalPodAutoscaler scales: listed where a TaskQueue references a Deployment, not watched.

An autoscaler changes its status every 15 s, so a watch of all of them would cost more than it tells.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from taskqueue_operator.control.clock import Clock
from taskqueue_operator.control.ports import Cluster
from taskqueue_operator.resource.names import Key

FRESH: Final = timedelta(seconds=10)
"""How long one listing of a namespace serves all its TaskQueues; an autoscaler acts first 15 s after its creation."""


class _Listing(NamedTuple):
    at: datetime
    by_deployment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Autoscalers:
    """Lists each namespace at most once in 10 s."""

    cluster: Cluster
    clock: Clock
    _listings: dict[str, _Listing] = field(default_factory=dict)
    _locks: defaultdict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))

    async def of(self, deployment: Key) -> str:
        """Return the name of the autoscaler of a Deployment; empty if it has none.

        Raises:
            Fault: The API server cannot be used.
        """
        namespace = deployment.namespace
        async with self._locks[namespace]:
            listing = self._listings.get(namespace)
            if listing is None or self.clock() - listing.at >= FRESH:
                listing = _Listing(self.clock(), await self.cluster.autoscalers(namespace))
                self._forget_old()
                self._listings[namespace] = listing
        return listing.by_deployment.get(deployment.name, "")

    def _forget_old(self) -> None:
        old = [name for name, listing in self._listings.items() if self.clock() - listing.at >= FRESH]
        for namespace in old:
            del self._listings[namespace]
            if not self._locks[namespace].locked():
                del self._locks[namespace]
