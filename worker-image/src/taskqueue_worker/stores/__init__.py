"""Redis and PostgreSQL, for what surrounds a handler: idempotency, rates and results.

Each needs an extra of the distribution: `taskqueue-worker[redis]` or `taskqueue-worker[postgres]`.
"""

from .postgres_store import PostgresStore
from .redis_store import RedisStore
from .unavailable import StoreUnavailableError

Store = RedisStore | PostgresStore

__all__ = ["PostgresStore", "RedisStore", "Store", "StoreUnavailableError"]
