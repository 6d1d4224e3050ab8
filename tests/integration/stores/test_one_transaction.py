"""A task is remembered in the transaction of its handler, or neither is done."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from taskqueue_worker import Duplicate, Requeue
from taskqueue_worker.idempotency import OneTransaction, current_connection
from taskqueue_worker.stores import PostgresStore
from tests.calls import call
from tests.cluster.store_server import PostgreSQL


@pytest.fixture
async def database(postgres_server: PostgreSQL) -> AsyncIterator[Any]:
    """A connection of the application, with a table of payments."""
    connection = await asyncpg.connect(postgres_server.url)
    await connection.execute("CREATE TABLE IF NOT EXISTS payments (task text PRIMARY KEY)")
    yield connection
    await connection.close()


@pytest.fixture
async def store(postgres_server: PostgreSQL) -> AsyncIterator[PostgresStore]:
    opened = PostgresStore(postgres_server.url)
    yield opened
    await opened.close()


async def payments(database: Any, task: str) -> int:  # noqa: ANN401 - asyncpg.Connection
    return int(await database.fetchval("SELECT count(*) FROM payments WHERE task = $1", task))


async def test_parallel_duplicates_write_once(store: PostgresStore, database: Any) -> None:  # noqa: ANN401 - asyncpg.Connection
    task, number = call(), uuid4().hex

    async def pay() -> None:
        await current_connection().execute("INSERT INTO payments VALUES ($1)", number)

    results = await asyncio.gather(*(OneTransaction(store)(task, pay) for _ in range(8)), return_exceptions=True)
    assert sum(result is None for result in results) == 1, results
    assert all(result is None or isinstance(result, Duplicate) for result in results), results
    assert await payments(database, number) == 1


async def test_a_failed_handler_leaves_neither_writes_nor_a_memory(store: PostgresStore, database: Any) -> None:  # noqa: ANN401 - asyncpg.Connection
    task, number, failing = call(), uuid4().hex, True

    async def pay() -> None:
        await current_connection().execute("INSERT INTO payments VALUES ($1)", number)
        if failing:
            raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        await OneTransaction(store)(task, pay)
    assert await payments(database, number) == 0
    failing = False
    await OneTransaction(store)(task, pay)
    assert await payments(database, number) == 1


async def test_a_handler_that_hides_an_error_of_the_database_has_failed(store: PostgresStore, database: Any) -> None:  # noqa: ANN401 - asyncpg.Connection
    task, number = call(), uuid4().hex
    await database.execute("INSERT INTO payments VALUES ($1)", number)

    async def pay() -> None:
        with pytest.raises(asyncpg.UniqueViolationError):
            await current_connection().execute("INSERT INTO payments VALUES ($1)", number)

    with pytest.raises(asyncpg.InFailedSQLTransactionError):
        await OneTransaction(store)(task, pay)


async def test_a_duplicate_of_a_running_task_comes_back_later(store: PostgresStore) -> None:
    task, begun, gate = call(), asyncio.Event(), asyncio.Event()

    async def pay() -> None:
        begun.set()
        await gate.wait()

    running = asyncio.ensure_future(OneTransaction(store)(task, pay))
    await begun.wait()
    with pytest.raises(Requeue, match="runs elsewhere") as refusal:
        await OneTransaction(store)(task, pay)
    assert refusal.value.delay == 5
    gate.set()
    await running


async def test_a_lost_connection_undoes_both_and_the_task_runs_again(
    postgres_server: PostgreSQL, store: PostgresStore
) -> None:
    task, runs, number = call(), [], uuid4().hex

    async def pay() -> None:
        runs.append(1)
        await current_connection().execute("INSERT INTO payments VALUES ($1)", number)
        if len(runs) == 1:
            postgres_server.kill()
            postgres_server.boot()

    application = await asyncpg.connect(postgres_server.url)
    await application.execute("CREATE TABLE IF NOT EXISTS payments (task text PRIMARY KEY)")
    await application.close()
    with pytest.raises((Requeue, asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await OneTransaction(store)(task, pay)
    await OneTransaction(store)(task, pay)
    application = await asyncpg.connect(postgres_server.url)
    assert await payments(application, number) == 1
    await application.close()
