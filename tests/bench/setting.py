"""What benchmarks run on. They share it, because a thousand TaskQueues take minutes to make."""

import subprocess
from contextlib import AsyncExitStack

from tests.bench.fleet import Fleet, assembled
from tests.bench.stage import Stage, stage
from tests.cluster.installation import ROOT


class Setting:
    """Stage and fleet are made when a benchmark first asks for them, and stay until the last one is done."""

    def __init__(self, stack: AsyncExitStack, *, size: int) -> None:
        self._stack = stack
        self.size = size
        """1000 is the whole of each benchmark, and what its targets are for."""
        self._stage: Stage | None = None
        self._fleet: Fleet | None = None
        self.commit = _commit()  # before anything is built from it

    def stage(self) -> Stage:
        """A cluster with broker and operator."""
        if self._stage is None:
            self._stage = self._stack.enter_context(stage())
        return self._stage

    async def fleet(self) -> Fleet:
        """Many TaskQueues, on a cluster with broker and operator."""
        if self._fleet is None:
            self._fleet = await self._stack.enter_async_context(assembled(self.stage(), self.size))
        return self._fleet


def _commit() -> str:
    """Name the commit of the checkout, with `-dirty` when that is not quite what is built."""
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    done = subprocess.run(describe, cwd=ROOT, capture_output=True, text=True, check=False, timeout=30)
    return done.stdout.strip() or "unknown"
