"""A rate of one process."""

import asyncio

from taskqueue_worker.bounds import LONGEST_DELAY_SECONDS
from taskqueue_worker.middleware import Call, Proceed
from taskqueue_worker.outcomes import Requeue

from .bucket import HOLD_SECONDS, Bucket


class LocalRate:
    """Starts at most so many tasks in this process. One object that surrounds several handlers is one rate of all."""

    def __init__(self, rate: str, *, burst: int = 1) -> None:
        """`rate` for example `10/s`; `burst` is how many tasks may start at once after a pause."""
        self._rate = rate
        self._bucket = Bucket.of(rate, burst)
        self._mark = 0.0

    async def __call__(self, call: Call, proceed: Proceed) -> object:
        """Run the task when its token is free."""
        now = asyncio.get_running_loop().time()
        wait = self._bucket.wait_seconds(self._mark, now)
        if wait > HOLD_SECONDS:
            raise too_early(call, self._rate, wait)
        self._mark = self._bucket.next_mark(self._mark, now)
        await asyncio.sleep(wait)
        return await proceed()


def too_early(call: Call, rate: str, wait: float) -> Requeue:
    """Return what a task raises that would wait for too long."""
    return Requeue(
        f"The rate {rate} of {call.task.type} is used up for {wait:.1f} s.", delay=min(wait, LONGEST_DELAY_SECONDS)
    )
