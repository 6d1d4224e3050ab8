"""The control channel receives reports of its TaskQueues, and a command reaches the worker that reported."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import quote
from uuid import uuid4

import aio_pika
import httpx
import pytest
from aio_pika.abc import AbstractChannel

from taskqueue_operator.rabbitmq.control_channel import EXCHANGE, ControlChannel
from taskqueue_operator.rabbitmq.vhost import CONTROL_CONNECTION_NAME
from taskqueue_operator.resource.bounds import REPORTS_PER_TURN
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
    async with asyncio.timeout(120):
        while not condition():  # noqa: ASYNC110  what is waited for happens elsewhere
            await asyncio.sleep(0.02)


@asynccontextmanager
async def listening(connect: Connect, log: ReportLog, *names: str, **keys: str) -> AsyncIterator[ControlChannel]:
    channel = connect(**keys).control_channel(log)
    for name in names:
        channel.listen(name, enabled=True)
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


async def report(channel: AbstractChannel, name: str, body: bytes = b"{}", **properties: object) -> None:
    await publish(channel, EXCHANGE, name, body, **properties)


async def publish(channel: AbstractChannel, exchange: str, key: str, body: bytes, **properties: object) -> None:
    message = aio_pika.Message(body, **{"reply_to": REPLIES} | properties)  # type: ignore[arg-type]  # any property
    target = await channel.get_exchange(exchange, ensure=False) if exchange else channel.default_exchange
    await target.publish(message, key, mandatory=False)


async def report_until_received(channel: AbstractChannel, log: ReportLog, name: str, body: bytes) -> None:
    """Report until the operator receives it: there is no signal that it has begun to listen."""
    async with asyncio.timeout(120):
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
            await channel.send([(log.entries[-1][2], b"drain")])
            await until(lambda: commands == [b"drain"])


async def test_only_reports_of_the_listened_taskqueues_are_received(
    broker: Broker, vhost: str, admin: httpx.Client, connect: Connect, log: ReportLog
) -> None:
    async with listening(connect, log, "media/a") as channel:
        await wait_for_exchange(admin, vhost)
        async with reporter(broker, vhost, []) as worker:
            await report_until_received(worker, log, "media/a", b"a")
            await report(worker, "media/b", b"b")
            channel.listen("media/a", enabled=False)
            channel.listen("media/c", enabled=True)
            await report_until_received(worker, log, "media/c", b"c")
            await report(worker, "media/a", b"late")
            channel.listen("media/d", enabled=True)
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


async def test_reports_are_received_again_after_the_exchange_was_deleted(
    connect: Connect, broker: Broker, vhost: str, admin: httpx.Client, log: ReportLog
) -> None:
    """The observer sees in the topology that the bindings are missing."""
    async with listening(connect, log, "media/jobs") as channel:
        await wait_for_exchange(admin, vhost)
        path = f"/exchanges/{quote(vhost, safe='')}/{EXCHANGE}"
        (await asyncio.to_thread(admin.delete, path)).raise_for_status()
        channel.restore({"media/jobs"})
        await wait_for_exchange(admin, vhost)
        async with reporter(broker, vhost, []) as worker:
            await report_until_received(worker, log, "media/jobs", b"after")


async def test_without_taskqueues_the_control_channel_does_not_connect(
    vhost: str, admin: httpx.Client, connect: Connect, log: ReportLog
) -> None:
    async with listening(connect, log) as channel:
        await asyncio.sleep(1)
        assert not is_connected(admin, vhost)
        channel.listen("media/a", enabled=True)
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
        await channel.send([(log.entries[-1][2], b"drain")])
        commands: list[bytes] = []
        async with reporter(broker, vhost, commands) as worker:
            await report_until_received(worker, log, "media/a", b"two")
            await channel.send([(log.entries[-1][2], b"drain")])
            await until(lambda: commands == [b"drain"])


@pytest.fixture
def other_vhost(admin: httpx.Client) -> Iterator[str]:
    """The vhost of another tenant on the same broker."""
    name = f"tests/{uuid4().hex[:8]} other"
    path = f"/vhosts/{quote(name, safe='')}"
    admin.put(path).raise_for_status()
    yield name
    admin.delete(path)


async def test_no_header_exchange_or_vhost_leads_a_report_to_a_taskqueue_of_another_tenant(
    broker: Broker, vhost: str, other_vhost: str, admin: httpx.Client, connect: Connect
) -> None:
    owners, log = ReportLog(), ReportLog()
    async with (
        listening(connect, owners, "owner/a"),
        listening(connect, log, "sender/b", vhost=other_vhost),
    ):
        await wait_for_exchange(admin, vhost)
        await wait_for_exchange(admin, other_vhost)
        async with reporter(broker, other_vhost, []) as sender:
            await report_until_received(sender, log, "sender/b", b"own")
            for header in ("CC", "BCC"):
                await report(sender, "owner/a", header.encode(), headers={header: ["sender/b"]})
            await until(lambda: bool(operator_queues(admin, other_vhost)))
            for queue in operator_queues(admin, other_vhost):
                await publish(sender, "", "owner/a", b"default exchange", headers={"BCC": [queue]})
            through = await sender.declare_exchange("through", aio_pika.ExchangeType.FANOUT, auto_delete=True)
            await (await sender.get_exchange(EXCHANGE, ensure=False)).bind(through, "sender/b")
            await publish(sender, "through", "sender/b", b"bound exchange")
            await publish(sender, EXCHANGE, "sender/b", b"any address", reply_to="jobs")
            await publish(sender, EXCHANGE, "sender/b", b"no address", reply_to=None)
            await report_until_received(sender, log, "sender/b", b"last")
    assert owners.entries == []
    assert set(log.reports) == {b"own", b"last"}
    assert {about for about, _, _ in log.entries} == {"sender/b"}


async def test_oversized_reports_are_refused_and_later_reports_arrive(
    broker: Broker, vhost: str, admin: httpx.Client, connect: Connect, log: ReportLog
) -> None:
    async with listening(connect, log, "media/a"):
        await wait_for_exchange(admin, vhost)
        async with reporter(broker, vhost, []) as worker:
            await report_until_received(worker, log, "media/a", b"first")
            for _ in range(3):
                await report(worker, "media/a", bytes(512 * 1024))
            for number in range(5 * REPORTS_PER_TURN):
                await report(worker, "media/a", b"%d" % number)
            await until(lambda: b"%d" % (5 * REPORTS_PER_TURN - 1) in log.reports)
    assert max(map(len, log.reports)) < 1024


def operator_queues(admin: httpx.Client, vhost: str) -> list[str]:
    """Return the queues of the operator."""
    return [queue["name"] for queue in admin.get(f"/queues/{quote(vhost, safe='')}").json() if queue["exclusive"]]


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
