"""Workers of a TaskQueue: the operator makes them, and lowers their number as far as they have stepped aside."""

import asyncio
from dataclasses import dataclass

from tests.e2e.application import OURS, Application
from tests.e2e.team import NAME, Team


@dataclass(frozen=True)
class Guarded:
    """A TaskQueue with windows as short as they can be."""

    concurrency: int
    prefetch: int
    most: int
    per_replica: int
    application: Application = OURS
    exchange: str = NAME

    def begin(self, team: Team) -> None:
        """Make the TaskQueue."""
        team.apply(
            worker={"concurrency": self.concurrency, "prefetch": self.prefetch},
            maxReplicas=self.most,
            readyPerReplica=self.per_replica,
            idleSeconds=1,
            behavior={"scaleDown": {"stabilizationWindowSeconds": 0}},
        )
        team.until_ready()

    def roll(self, team: Team, version: int) -> None:
        """Change what the pods are made from."""
        annotations = {"taskqueue.dev/bench": str(version)}
        team.patch({"worker": {"podTemplate": {"metadata": {"annotations": annotations}}}})

    async def attend(self, team: Team) -> None:
        """Leave it to the operator."""
        del team
        await asyncio.Event().wait()
