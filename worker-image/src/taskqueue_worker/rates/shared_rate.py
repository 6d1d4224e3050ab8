"""A rate of all processes that use one Redis."""

import asyncio
from typing import Final, Literal, Self

import structlog

from taskqueue_worker.middleware import Call, Proceed
from taskqueue_worker.outcomes import Requeue
from taskqueue_worker.stores import RedisStore, StoreUnavailableError
from taskqueue_worker.stores.unavailable import OnUnavailable, Pauses

from .bucket import HOLD_SECONDS, Bucket
from .local_rate import too_early

# The rule of `Bucket`, by the clock of the server, in microseconds.
_TAKE: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local added, burst, longest = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local mark = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
local wait = math.max(0, mark - (burst - 1) * added - now)
if wait <= longest then
  local ahead = math.ceil((mark + added - now) / 1000)
  redis.call('SET', KEYS[1], string.format('%.0f', mark + added), 'PX', ahead)
end
return wait
"""

_log = structlog.get_logger("rates")


class SharedRate:
    """Starts at most so many tasks in all processes that use the name. One call of Redis for each task."""

    def __init__(
        self,
        store: RedisStore,
        rate: str,
        *,
        name: str | None = None,
        burst: int = 1,
        on_unavailable: Literal["retry", "run"] = "retry",
    ) -> None:
        """Share a rate.

        Args:
            store: Where.
            rate: For example `10/s`.
            name: Whose rate it is; by default that of the task type.
            burst: How many tasks may start at once after a pause.
            on_unavailable: `retry`: a task waits until the store is back. `run`: it starts without a token.
        """
        self._store = store
        self._rate = rate
        self._bucket = Bucket.of(rate, burst)
        self._name = name
        self._on_unavailable = OnUnavailable(on_unavailable)
        self._pauses = Pauses()

    async def __aenter__(self) -> Self:
        """Do nothing: the store is opened by its first call."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the store."""
        await self._store.close()

    async def __call__(self, call: Call, proceed: Proceed) -> object:
        """Run the task when its token is free."""
        try:
            wait = await self._take(self._name or call.task.type)
        except StoreUnavailableError as error:
            if self._on_unavailable is OnUnavailable.RETRY:
                raise Requeue(str(error), delay=self._pauses.next_seconds()) from error
            _log.warning("task starts without a token", type=call.task.type, reason=str(error))
            return await proceed()
        self._pauses.reset()
        if wait > HOLD_SECONDS:
            raise too_early(call, self._rate, wait)
        await asyncio.sleep(wait)
        return await proceed()

    async def _take(self, name: str) -> float:
        bucket = self._bucket
        arguments = [round(bucket.seconds * 1e6), bucket.burst, round(HOLD_SECONDS * 1e6)]
        wait = await self._store.run(_TAKE, [f"rate:{name}"], arguments)
        return int(wait) / 1e6
