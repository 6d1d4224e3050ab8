"""Workers of a TaskQueue: the operator makes them, and lowers their number as far as they have stepped aside."""

import asyncio
from dataclasses import dataclass

from tests.e2e.application import TASKQUEUE_WORKER, Application
from tests.e2e.tenant import NAME, Tenant


@dataclass(frozen=True)
class Guarded:
    """A TaskQueue with windows as short as they can be."""

    concurrency: int
    prefetch: int
    most: int
    per_replica: int
    application: Application = TASKQUEUE_WORKER
    exchange: str = NAME

    def begin(self, tenant: Tenant) -> None:
        """Make the TaskQueue."""
        tenant.apply(
            worker={"concurrency": self.concurrency, "prefetch": self.prefetch},
            maxReplicas=self.most,
            readyPerReplica=self.per_replica,
            idleSeconds=1,
            behavior={"scaleDown": {"stabilizationWindowSeconds": 0}},
        )
        tenant.until_ready()

    def roll(self, tenant: Tenant, version: int) -> None:
        """Change what the pods are made from."""
        annotations = {"taskqueue.dev/bench": str(version)}
        tenant.patch({"worker": {"podTemplate": {"metadata": {"annotations": annotations}}}})

    async def attend(self, tenant: Tenant) -> None:
        """Leave it to the operator."""
        del tenant
        await asyncio.Event().wait()
