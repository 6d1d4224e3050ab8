"""Workers of a TaskQueue: the operator creates them, and removes only workers that have drained."""

import asyncio
from dataclasses import dataclass

from tests.bench.resource_requests import RESOURCES
from tests.e2e.application import NAME, TASKQUEUE_WORKER, Application
from tests.e2e.tenant import Tenant


@dataclass(frozen=True)
class ManagedWorkers:
    """A TaskQueue with the shortest possible windows."""

    concurrency: int
    prefetch: int
    max_replicas: int
    ready_per_replica: int
    application: Application = TASKQUEUE_WORKER
    exchange: str = NAME

    def create(self, tenant: Tenant) -> None:
        """Create the TaskQueue."""
        tenant.apply(
            worker={"concurrency": self.concurrency, "prefetch": self.prefetch, "resources": RESOURCES},
            maxReplicas=self.max_replicas,
            readyPerReplica=self.ready_per_replica,
            idleSeconds=1,
            behavior={"scaleDown": {"stabilizationWindowSeconds": 0}},
        )
        tenant.until_ready()

    def roll_out(self, tenant: Tenant, version: int) -> None:
        """Change the template of the pods."""
        annotations = {"taskqueue.dev/bench": str(version)}
        tenant.patch({"worker": {"podTemplate": {"metadata": {"annotations": annotations}}}})

    async def keep_scaled(self, tenant: Tenant) -> None:
        """Do nothing: the operator scales."""
        del tenant
        await asyncio.Event().wait()
