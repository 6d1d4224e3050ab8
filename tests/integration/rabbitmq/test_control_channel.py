"""The control channel receives reports of its TaskQueues, and a command reaches the worker that reported."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import quote

import aio_pika
import httpx
import pytest
from aio_pika.abc import AbstractChannel

from taskqueue_operator.rabbitmq.control_channel import EXCHANGE, ControlChannel
from taskqueue_operator.rabbitmq.vhost import CONTROL_CONNECTION_NAME
from taskqueue_operator.resource.faults import Reason
from tests.cluster.broker import Broker

from .conftest import PASSWORD, Connect, MakeUser, approve

REPLIES = "amq.rabbitmq.reply-to"


@dataclass
class ReportLog:
    entries: list[tuple[str, bytes, str]] = field(default_factory=list)

    def __call__(self, about: str, report: bytes, address: str) -> None:
        self.entries.append((about, report, address))

    @property
    def reports(self) -> list[bytes]:
        return [report for _, report, _ in self.entries]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  what is waited for happens elsewhere
            await asyncio.sleep(0.02)


@asynccontextmanager
async def listening(connect: Connect, log: ReportLog, *names: str, **keys: str) -> AsyncIterator[ControlChannel]:
    channel = connect(**keys).control_channel(log)
    channel.listen(names)
    task = asyncio.create_task(channel.run())
    yield channel
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def reporter(broker: Broker, vhost: str, commands: list[bytes]) -> AsyncIterator[AbstractChannel]:
    """A worker's channel; commands to it are stored in `commands`."""
    async with await aio_pika.connect(broker.url.rstrip("/") + "/" + quote(vhost, safe="")) as connection:
        channel = await connection.channel(publisher_confirms=False)
        replies = await channel.get_queue(REPLIES, ensure=False)

        async def store(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            commands.append(message.body)

        await replies.consume(store, no_ack=True)
        yield channel


async def report(channel: AbstractChannel, name: str, body: bytes = b"{}") -> None:
    exchange = await channel.get_exchange(EXCHANGE, ensure=False)
    await exchange.publish(aio_pika.Message(body, reply_to=REPLIES), name, mandatory=False)


async def report_until_received(channel: AbstractChannel, log: ReportLog, name: str, body: bytes) -> None:
    """Report until the operator receives it: there is no signal that it has begun to listen."""
    async with asyncio.timeout(30):
        while body not in log.reports:
            await report(channel, name, body)
            await asyncio.sleep(0.1)


@pytest.fixture
async def log() -> ReportLog:
    return ReportLog()


def is_connected(admin: httpx.Client, vhost: str) -> bool:
    """Whether the operator has declared the exchange."""
    return admin.get(f"/exchanges/{quote(vhost, safe='')}/{EXCHANGE}").is_success


async def wait_for_exchange(admin: httpx.Client, vhost: str) -> None:
    await until(lambda: is_connected(admin, vhost))


async def test_a_report_is_received_and_a_command_reaches_its_sender(
    broker: Broker, vhost: str, admin: httpx.Client, connect: Connect, log: ReportLog
) -> None:
    commands: list[bytes] = []
    async with listening(connect, log, "media/a") as channel:
        await wait_for_exchange(admin, vhost)
        async with reporter(broker, vhost, commands) as worker:
            await report_until_received(worker, log, "media/a", b"one")
            await channel.send(log.entries[-1][2], b"drain")
            await until(lambda: commands == [b"drain"])


async def test_only_reports_of_the_listened_taskqueues_are_received(
    broker: Broker, vhost: str, admin: httpx.Client, connect: Connect, log: ReportLog
) -> None:
    async with listening(connect, log, "media/a") as channel:
        await wait_for_exchange(admin, vhost)
        async with reporter(broker, vhost, []) as worker:
            await report_until_received(worker, log, "media/a", b"a")
            await report(worker, "media/b", b"b")
            channel.listen({"media/c"})
            await report_until_received(worker, log, "media/c", b"c")
            await report(worker, "media/a", b"late")
            channel.listen({"media/c", "media/d"})
            await report_until_received(worker, log, "media/d", b"d")
    assert set(log.reports) == {b"a", b"c", b"d"}


async def test_reports_are_received_again_after_the_connection_was_lost(
    broker: Broker, vhost: str, admin: httpx.Client, connect: Connect, log: ReportLog
) -> None:
    async with listening(connect, log, "media/a"):
        await wait_for_exchange(admin, vhost)
        async with reporter(broker, vhost, []) as worker:
            await report_until_received(worker, log, "media/a", b"before")
            await until(lambda: close_connections(admin, CONTROL_CONNECTION_NAME))
            await report_until_received(worker, log, "media/a", b"after")


async def test_without_taskqueues_the_control_channel_does_not_connect(
    vhost: str, admin: httpx.Client, connect: Connect, log: ReportLog
) -> None:
    async with listening(connect, log) as channel:
        await asyncio.sleep(1)
        assert not is_connected(admin, vhost)
        channel.listen({"media/a"})
        await wait_for_exchange(admin, vhost)


async def test_a_missing_permission_for_the_reports_exchange_is_named(
    connect: Connect, user: MakeUser, broker: Broker, vhost: str, log: ReportLog
) -> None:
    name = user("management", configure="^jobs$")
    async with listening(connect, log, "media/a", username=name, password=PASSWORD) as channel:
        await until(lambda: channel.fault is not None)
        assert channel.fault is not None
        assert channel.fault.reason is Reason.PERMISSION_DENIED
        placeholders = {
            f'use exchange "{EXCHANGE}"': 'configure exchange "jobs"',
            f"127.0.0.1:{broker.amqp_port}": "BROKER",
            f"'{vhost}'": "team",
            vhost: "team",
            name: "app-team",
        }
        approve("broker.operation_forbidden", channel.fault.message, placeholders)
        assert PASSWORD not in channel.fault.message


async def test_a_command_to_a_gone_worker_is_lost_and_the_channel_stays_open(
    broker: Broker, vhost: str, admin: httpx.Client, connect: Connect, log: ReportLog
) -> None:
    async with listening(connect, log, "media/a") as channel:
        await wait_for_exchange(admin, vhost)
        async with reporter(broker, vhost, []) as worker:
            await report_until_received(worker, log, "media/a", b"one")
        await channel.send(log.entries[-1][2], b"drain")
        commands: list[bytes] = []
        async with reporter(broker, vhost, commands) as worker:
            await report_until_received(worker, log, "media/a", b"two")
            await channel.send(log.entries[-1][2], b"drain")
            await until(lambda: commands == [b"drain"])


def close_connections(admin: httpx.Client, name: str) -> bool:
    """Let the broker close all connections of this name; returns whether there were any."""
    names = [
        connection["name"]
        for connection in admin.get("/connections").json()
        if connection.get("client_properties", {}).get("connection_name") == name
    ]
    for connection in names:
        admin.delete(f"/connections/{quote(connection, safe='')}")
    return bool(names)
