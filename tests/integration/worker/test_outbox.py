"""The outbox of docs/publishing.md, with its relay as processes, on a real PostgreSQL."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from tests.cluster.broker import Broker
from tests.cluster.packages import installed
from tests.cluster.store_server import PostgreSQL
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.eventually import eventually
from tests.integration.worker.page_examples import example, run
from tests.integration.worker.running_worker import SOURCE

SCRIPT = Path(__file__).parents[3] / "deploy/samples/outbox/outbox.py"
WEB = Path(__file__).parent / "web.txt"
STOP_BEFORE_DELETE = """
CREATE OR REPLACE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_advisory_xact_lock_shared(7); RETURN OLD; END $$;
CREATE OR REPLACE TRIGGER stop BEFORE DELETE ON outbox FOR EACH ROW EXECUTE FUNCTION stop();
"""
BLOCKED = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"

StartRelay = Callable[[], "subprocess.Popen[bytes]"]


@pytest.fixture
async def exchange(queue: DeclaredQueue) -> AsyncIterator[str]:
    declared = await queue.channel.declare_exchange(queue.name, "topic", durable=True)
    await (await queue.channel.get_queue(queue.name)).bind(declared, queue.name)
    yield queue.name
    await declared.delete()


@pytest.fixture
def start_relay(broker: Broker, postgres_server: PostgreSQL, exchange: str) -> Iterator[StartRelay]:
    relays: list[subprocess.Popen[bytes]] = []
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{installed(WEB)}{os.pathsep}{SOURCE}",
        "DATABASE_URL": postgres_server.url,
        "RABBITMQ_URL": broker.url,
        "EXCHANGE": exchange,
    }

    def start() -> subprocess.Popen[bytes]:
        relays.append(subprocess.Popen([sys.executable, str(SCRIPT)], env=environment))
        return relays[-1]

    yield start
    for relay in relays:
        relay.kill()
        relay.wait()


@pytest.fixture
async def database(postgres_server: PostgreSQL, start_relay: StartRelay) -> AsyncIterator[asyncpg.Connection]:
    """A database with an empty outbox, which the first relay creates, and no relay."""
    connection = await asyncpg.connect(postgres_server.url)
    await connection.execute("DROP TABLE IF EXISTS outbox")
    relay = start_relay()

    async def exists() -> bool:
        return bool(await connection.fetchval("SELECT to_regclass('outbox_due_at') IS NOT NULL"))

    await eventually("the table", exists)
    relay.kill()
    relay.wait()
    yield connection
    await connection.close()


async def add(database: asyncpg.Connection, n: int, due: str = "now()") -> UUID:
    insert = f"INSERT INTO outbox (type, payload, due_at) VALUES ('work', $1, {due}) RETURNING id"  # noqa: S608 - ours
    task_id = await database.fetchval(insert, json.dumps({"n": n}))
    assert isinstance(task_id, UUID)
    return task_id


async def waiting(database: asyncpg.Connection) -> int:
    return int(await database.fetchval("SELECT count(*) FROM outbox"))


async def test_the_example_of_the_page_stores_a_task_with_its_cause(
    database: asyncpg.Connection, postgres_server: PostgreSQL, start_relay: StartRelay, queue: DeclaredQueue
) -> None:
    await database.execute("DROP TABLE IF EXISTS orders; CREATE TABLE orders (id integer PRIMARY KEY)")
    program = (sys.executable, "-c", example("publishing.md", "## Outbox", exchange=queue.name))
    path = os.pathsep.join(map(str, (installed(WEB), SOURCE, SCRIPT.parent)))
    environment = {"DATABASE_URL": postgres_server.url, "PYTHONPATH": path, "RABBITMQ_URL": ""}
    await run(*program, **environment)
    with pytest.raises(AssertionError):
        await run(*program, **environment)  # the order exists: there is no second task
    start_relay()
    assert json.loads((await queue.get(queue.name)).body) == {"n": 7}

    async def done() -> bool:
        return not await waiting(database)

    await eventually("an empty outbox", done)


async def test_relays_publish_each_committed_task_once_when_it_is_due(
    database: asyncpg.Connection, start_relay: StartRelay, queue: DeclaredQueue
) -> None:
    ids = [await add(database, n) for n in range(150)]
    await add(database, 999, "now() + interval '1 hour'")
    rolled_back = database.transaction()
    await rolled_back.start()
    await add(database, 998)
    await rolled_back.rollback()
    for _ in range(2):
        start_relay()

    async def done() -> bool:
        return await waiting(database) == 1

    await eventually("an outbox with the task of the next hour", done)
    messages = [await queue.get(queue.name) for _ in range(150)]
    assert Counter(message.message_id for message in messages) == Counter(map(str, ids))
    assert sorted(json.loads(message.body)["n"] for message in messages) == list(range(150))
    assert await queue.ready() == 0


async def test_a_task_whose_relay_ends_after_the_confirm_is_published_again_as_the_same_task(
    database: asyncpg.Connection, start_relay: StartRelay, queue: DeclaredQueue
) -> None:
    await database.execute(STOP_BEFORE_DELETE)
    await database.execute("SELECT pg_advisory_lock(7)")
    task_id = await add(database, 1)
    relay = start_relay()

    async def has_published() -> bool:
        return bool(await database.fetchval(BLOCKED))

    await eventually("a relay that deletes", has_published)
    relay.kill()
    await database.execute("SELECT pg_advisory_unlock(7)")
    start_relay()

    async def done() -> bool:
        return not await waiting(database)

    await eventually("an empty outbox", done)
    assert [(await queue.get(queue.name)).message_id for _ in range(2)] == [str(task_id)] * 2


async def test_a_task_that_no_queue_would_receive_waits_and_delays_no_other(
    database: asyncpg.Connection, start_relay: StartRelay, queue: DeclaredQueue, exchange: str
) -> None:
    bound = await queue.channel.get_queue(queue.name)
    await bound.unbind(exchange, exchange)
    await add(database, 1)
    start_relay()

    async def postponed() -> bool:
        return bool(await database.fetchval("SELECT count(*) FROM outbox WHERE due_at > now()"))

    await eventually("a task that waits", postponed)
    await bound.bind(exchange, exchange)
    await add(database, 2)
    assert json.loads((await queue.get(queue.name)).body) == {"n": 2}
    assert await waiting(database) >= 1
