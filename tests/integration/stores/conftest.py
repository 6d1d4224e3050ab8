from collections.abc import AsyncIterator

import pytest

from taskqueue_worker.stores import PostgresStore, RedisStore, Store
from tests.cluster.store_server import PostgreSQL, Redis, StoreServer


@pytest.fixture(params=["redis", "postgres"])
def store_server(request: pytest.FixtureRequest) -> StoreServer:
    """Each of the two servers in turn."""
    server: StoreServer = request.getfixturevalue(f"{request.param}_server")
    return server


@pytest.fixture
async def store(store_server: Redis | PostgreSQL) -> AsyncIterator[Store]:
    url = store_server.url
    opened = RedisStore(url, call_seconds=1) if isinstance(store_server, Redis) else PostgresStore(url, call_seconds=1)
    yield opened
    await opened.close()
