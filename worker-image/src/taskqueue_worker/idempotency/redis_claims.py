"""Claims in Redis: one string for each key, which is gone when its time is over."""

from typing import Final

from taskqueue_worker.stores import RedisStore

from .claims import Claim

# Digits of the server's clock in microseconds: the next claim of the key is later.
_CLAIM: Final = """
local time = redis.call('TIME')
local fence = time[1] .. string.format('%06d', time[2])
if redis.call('SET', KEYS[1], 'running:' .. fence, 'NX', 'PX', ARGV[1]) then
  return {'claimed', fence}
end
local state = string.match(redis.call('GET', KEYS[1]), '^%a+')
return {state, redis.call('PTTL', KEYS[1])}
"""
_PUT: Final = """
local now = redis.call('GET', KEYS[1])
if now and now ~= 'running:' .. ARGV[2] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1] .. ':' .. ARGV[2], 'PX', ARGV[3])
return 1
"""
_RELEASE: Final = """
if redis.call('GET', KEYS[1]) == 'running:' .. ARGV[1] then
  redis.call('DEL', KEYS[1])
end
"""


class RedisClaims:
    """Claims in a Redis."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store

    async def claim(self, key: str, seconds: float) -> Claim:
        """See `Claims.claim`."""
        state, value = await self._store.run(_CLAIM, [_named(key)], [_ms(seconds)])
        if state == b"claimed":
            return Claim(int(value))
        return Claim(None, state == b"done", max(0, value) / 1000)  # below 0: it has no end

    async def hold(self, key: str, fence: int, seconds: float) -> bool:
        """See `Claims.hold`."""
        return bool(await self._store.run(_PUT, [_named(key)], ["running", fence, _ms(seconds)]))

    async def finish(self, key: str, fence: int, seconds: float) -> bool:
        """See `Claims.finish`."""
        return bool(await self._store.run(_PUT, [_named(key)], ["done", fence, _ms(seconds)]))

    async def release(self, key: str, fence: int) -> None:
        """See `Claims.release`."""
        await self._store.run(_RELEASE, [_named(key)], [fence])


def _named(key: str) -> str:
    return f"claim:{key}"


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
