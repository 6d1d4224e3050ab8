"""Records in Redis: a hash for each task."""

from typing import Final

from taskqueue_worker.stores import RedisStore

from .records import Fields, Rule, Written

_WRITE: Final = """
local known = redis.call('HMGET', KEYS[1], 'state', 'run', 'checkpoint')
local state, run, checkpoint = known[1], known[2], known[3] or ''
local rule = ARGV[1]
if state == 'done' or (rule == 'if_absent' and state) or (rule == 'same_run' and run and run ~= ARGV[2]) then
  return {0, checkpoint}
end
redis.call('HSET', KEYS[1], 'run', ARGV[2], unpack(ARGV, 4))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {1, checkpoint}
"""
_READ: Final = "return redis.call('HGETALL', KEYS[1])"


class RedisRecords:
    """Records in a Redis."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store

    async def write(self, key: str, fields: Fields, rule: Rule, keep_seconds: float) -> Written:
        """See `Records.write`."""
        named = [text for name, value in fields.items() if name != "run" for text in (name, value)]
        arguments = [rule.value, fields.get("run", ""), round(keep_seconds * 1000), *named]
        is_written, checkpoint = await self._store.run(_WRITE, [f"task:{key}"], arguments)
        return Written(bool(is_written), checkpoint.decode())

    async def read(self, key: str) -> Fields | None:
        """See `Records.read`."""
        texts = [text.decode() for text in await self._store.run(_READ, [f"task:{key}"], [])]
        return dict(zip(texts[::2], texts[1::2], strict=True)) or None
