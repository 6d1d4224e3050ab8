"""The conversation with workers: heard are those of our own TaskQueues, and a command reaches the one that reported."""

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

from .conftest import PASSWORD, Connect, MakeUser

REPLIES = "amq.rabbitmq.reply-to"


@dataclass
class Ears:
    heard: list[tuple[str, bytes, str]] = field(default_factory=list)

    def __call__(self, about: str, report: bytes, address: str) -> None:
        self.heard.append((about, report, address))

    @property
    def reports(self) -> list[bytes]:
        return [report for _, report, _ in self.heard]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  what is waited for happens elsewhere
            await asyncio.sleep(0.02)


@asynccontextmanager
async def listening(connect: Connect, ears: Ears, *names: str, **keys: str) -> AsyncIterator[ControlChannel]:
    channel = connect(**keys).control_channel(ears)
    channel.listen(names)
    task = asyncio.create_task(channel.run())
    yield channel
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def reporter(broker: Broker, vhost: str, told: list[bytes]) -> AsyncIterator[AbstractChannel]:
    """A worker's channel; commands to it are kept in `told`."""
    async with await aio_pika.connect(broker.url.rstrip("/") + "/" + quote(vhost, safe="")) as connection:
        channel = await connection.channel(publisher_confirms=False)
        replies = await channel.get_queue(REPLIES, ensure=False)

        async def keep(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            told.append(message.body)

        await replies.consume(keep, no_ack=True)
        yield channel


async def report(channel: AbstractChannel, name: str, body: bytes = b"{}") -> None:
    exchange = await channel.get_exchange(EXCHANGE, ensure=False)
    await exchange.publish(aio_pika.Message(body, reply_to=REPLIES), name, mandatory=False)


async def heard(channel: AbstractChannel, ears: Ears, name: str, body: bytes) -> None:
    """Report until it is heard: nobody says when the operator has begun to listen."""
    async with asyncio.timeout(30):
        while body not in ears.reports:
            await report(channel, name, body)
            await asyncio.sleep(0.1)


@pytest.fixture
async def ears() -> Ears:
    return Ears()


def talks(admin: httpx.Client, vhost: str) -> bool:
    """Whether the operator has made the exchange."""
    return admin.get(f"/exchanges/{quote(vhost, safe='')}/{EXCHANGE}").is_success


async def wait_for_exchange(admin: httpx.Client, vhost: str) -> None:
    await until(lambda: talks(admin, vhost))


async def test_a_worker_is_heard_and_a_command_reaches_it(
    broker: Broker, vhost: str, admin: httpx.Client, connect: Connect, ears: Ears
) -> None:
    told: list[bytes] = []
    async with listening(connect, ears, "media/a") as channel:
        await wait_for_exchange(admin, vhost)
        async with reporter(broker, vhost, told) as worker:
            await heard(worker, ears, "media/a", b"one")
            await channel.send(ears.heard[-1][2], b"drain")
            await until(lambda: told == [b"drain"])


async def test_only_those_that_are_listened_to_are_heard(
    broker: Broker, vhost: str, admin: httpx.Client, connect: Connect, ears: Ears
) -> None:
    async with listening(connect, ears, "media/a") as channel:
        await wait_for_exchange(admin, vhost)
        async with reporter(broker, vhost, []) as worker:
            await heard(worker, ears, "media/a", b"a")
            await report(worker, "media/b", b"b")
            channel.listen({"media/c"})
            await heard(worker, ears, "media/c", b"c")
            await report(worker, "media/a", b"late")
            channel.listen({"media/c", "media/d"})
            await heard(worker, ears, "media/d", b"d")
    assert set(ears.reports) == {b"a", b"c", b"d"}


async def test_it_listens_again_when_its_connection_was_lost(
    broker: Broker, vhost: str, admin: httpx.Client, connect: Connect, ears: Ears
) -> None:
    async with listening(connect, ears, "media/a"):
        await wait_for_exchange(admin, vhost)
        async with reporter(broker, vhost, []) as worker:
            await heard(worker, ears, "media/a", b"before")
            await until(lambda: cut(admin, CONTROL_CONNECTION_NAME))
            await heard(worker, ears, "media/a", b"after")


async def test_without_anybody_to_listen_to_it_does_not_connect(
    vhost: str, admin: httpx.Client, connect: Connect, ears: Ears
) -> None:
    async with listening(connect, ears) as channel:
        await asyncio.sleep(1)
        assert not talks(admin, vhost)
        channel.listen({"media/a"})
        await wait_for_exchange(admin, vhost)


async def test_a_user_who_may_not_talk_is_told_what_is_missing(connect: Connect, user: MakeUser, ears: Ears) -> None:
    name = user("management", configure="^jobs$")
    async with listening(connect, ears, "media/a", username=name, password=PASSWORD) as channel:
        await until(lambda: channel.fault is not None)
        assert channel.fault is not None
        assert channel.fault.reason is Reason.PERMISSION_DENIED
        assert f'User "{name}" may not use exchange "{EXCHANGE}"' in channel.fault.message
        assert PASSWORD not in channel.fault.message


async def test_a_command_to_who_is_gone_is_lost_and_harms_nothing(
    broker: Broker, vhost: str, admin: httpx.Client, connect: Connect, ears: Ears
) -> None:
    async with listening(connect, ears, "media/a") as channel:
        await wait_for_exchange(admin, vhost)
        async with reporter(broker, vhost, []) as worker:
            await heard(worker, ears, "media/a", b"one")
        await channel.send(ears.heard[-1][2], b"drain")
        told: list[bytes] = []
        async with reporter(broker, vhost, told) as worker:
            await heard(worker, ears, "media/a", b"two")
            await channel.send(ears.heard[-1][2], b"drain")
            await until(lambda: told == [b"drain"])


def cut(admin: httpx.Client, name: str) -> bool:
    """Have the broker close the connections of that name; whether there were any."""
    ours = [
        each["name"]
        for each in admin.get("/connections").json()
        if each.get("client_properties", {}).get("connection_name") == name
    ]
    for connection in ours:
        admin.delete(f"/connections/{quote(connection, safe='')}")
    return bool(ours)
