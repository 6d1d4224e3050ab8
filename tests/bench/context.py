"""What the benchmarks of one run share: a thousand TaskQueues take minutes to create."""

import subprocess
from contextlib import AsyncExitStack

from tests.bench.environment import environment
from tests.bench.fleet import Fleet, create_fleet
from tests.cluster.installation import ROOT
from tests.e2e.cluster_broker import ClusterBroker


class Context:
    """Broker and fleet are created when a benchmark first needs them, and remain until the last benchmark ends."""

    def __init__(self, stack: AsyncExitStack, *, size: int) -> None:
        self._stack = stack
        self.size = size
        """1000 is the full size of each benchmark, for which its targets hold."""
        self._broker: ClusterBroker | None = None
        self._fleet: Fleet | None = None
        self.commit = _commit()  # before anything is built from it

    def broker(self) -> ClusterBroker:
        """Return the broker of a cluster with an operator."""
        if self._broker is None:
            self._broker = self._stack.enter_context(environment())
        return self._broker

    async def fleet(self) -> Fleet:
        """Return many TaskQueues on a cluster with broker and operator."""
        if self._fleet is None:
            self._fleet = await self._stack.enter_async_context(create_fleet(self.broker(), self.size))
        return self._fleet


def _commit() -> str:
    """Return the commit of the checkout, with `-dirty` if the checkout differs from it."""
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    done = subprocess.run(describe, cwd=ROOT, capture_output=True, text=True, check=False, timeout=30)
    return done.stdout.strip() or "unknown"
