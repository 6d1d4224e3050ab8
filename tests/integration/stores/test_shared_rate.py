"""A rate that several processes share through Redis."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from uuid import uuid4

import pytest

from taskqueue_worker import Requeue
from taskqueue_worker.rates import SharedRate
from taskqueue_worker.stores import RedisStore
from tests.calls import call
from tests.cluster.store_server import Redis


@pytest.fixture
async def stores(redis_server: Redis) -> AsyncIterator[list[RedisStore]]:
    opened = [RedisStore(redis_server.url, call_seconds=1) for _ in range(2)]
    yield opened
    for store in opened:
        await store.close()


async def test_two_processes_share_the_tokens(stores: list[RedisStore]) -> None:
    name = uuid4().hex
    rates = [SharedRate(store, "1/m", name=name, burst=3) for store in stores]
    started: list[int] = []

    async def run() -> None:
        started.append(1)

    results = await asyncio.gather(*(rate(call(), run) for rate in rates for _ in range(5)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, Requeue)]
    assert (len(started), len(refused)) == (3, 7)
    assert all(50 < refusal.delay <= 60 for refusal in refused), "when the next token is free"


async def test_a_task_waits_for_its_token(stores: list[RedisStore], monkeypatch: pytest.MonkeyPatch) -> None:
    rate, waits = SharedRate(stores[0], "15/m", name=uuid4().hex), []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async def run() -> None: ...

    monkeypatch.setattr("taskqueue_worker.rates.shared_rate.asyncio", SimpleNamespace(sleep=sleep))
    for _ in range(2):
        await rate(call(), run)
    assert waits[0] == 0 < waits[1] <= 4


async def test_rates_of_other_types_have_their_own_tokens(stores: list[RedisStore]) -> None:
    rate = SharedRate(stores[0], "1/d")

    async def run() -> None: ...

    for _ in range(2):
        await rate(call(type=uuid4().hex), run)


async def test_without_redis_a_task_waits_or_starts_as_its_declaration_says(redis_server: Redis) -> None:
    store = RedisStore(redis_server.url, call_seconds=1)

    async def run() -> str:
        return "ran"

    redis_server.kill()
    try:
        with pytest.raises(Requeue, match=f"Redis 127.0.0.1:{redis_server.port}") as away:
            await SharedRate(store, "1/s")(call(), run)
        assert away.value.delay >= 1
        assert await SharedRate(store, "1/s", on_unavailable="run")(call(), run) == "ran"
    finally:
        redis_server.boot()
        await store.close()
