"""A peer that is no broker costs its own control channel a fault, and ends nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest

from taskqueue_operator.rabbitmq import control_channel
from taskqueue_operator.rabbitmq.vhost import VhostFactory
from taskqueue_operator.resource import bounds
from taskqueue_operator.resource.faults import Reason
from taskqueue_operator.resource.names import Key
from tests.bench.played.amqp import AmqpConnection

Play = Callable[[AmqpConnection], Awaitable[None]]


async def without_capabilities(connection: AmqpConnection) -> None:
    await connection.open(capabilities={})
    await connection.serve()


async def without_regard_to_the_prefetch(connection: AmqpConnection) -> None:
    await connection.open()
    serving = asyncio.create_task(connection.serve())
    while not serving.done():
        connection.deliver("media/a", b"x" * (bounds.REPORT_BYTES + 1), "amq.rabbitmq.reply-to.x")
        await asyncio.sleep(0.001)
    await serving


@pytest.mark.parametrize("play", [without_capabilities, without_regard_to_the_prefetch])
async def test_a_peer_that_is_no_broker_is_a_fault_and_the_control_channel_tries_again(play: Play) -> None:
    connects: asyncio.Queue[None] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = AmqpConnection(reader, writer, lambda _address, _command: None)
        connects.put_nowait(None)
        try:
            await play(connection)
        except (EOFError, OSError):
            pass
        finally:
            connection.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    factory = VhostFactory(lambda: datetime.now(UTC))
    data = {"uri": f"amqp://app:secret@127.0.0.1:{port}".encode()}
    vhost = factory.connect(factory.endpoint(Key("media", "rabbitmq"), data, None))
    channel = vhost.control_channel(lambda *_: None)
    channel.listen("media/a", enabled=True)
    running = asyncio.create_task(channel.run())
    try:
        async with asyncio.timeout(30):
            for _ in range(2):
                await connects.get()
        assert not running.done()
        assert channel.fault is not None
        assert channel.fault.reason is Reason.BROKER_UNREACHABLE
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await vhost.close()
        server.close()


async def test_a_cancellation_that_the_library_replaces_by_an_error_ends_the_control_channel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Otherwise it would connect again for ever, and its observer could never be closed."""
    connecting = asyncio.Event()

    async def connect(*_: object) -> None:
        is_first = not connecting.is_set()
        connecting.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if is_first:
                raise ConnectionError from None
            raise

    monkeypatch.setattr(control_channel, "bounded_connection", connect)
    factory = VhostFactory(lambda: datetime.now(UTC))
    data = {"uri": b"amqp://app:secret@127.0.0.1:5672"}
    vhost = factory.connect(factory.endpoint(Key("media", "rabbitmq"), data, None))
    channel = vhost.control_channel(lambda *_: None)
    channel.listen("media/a", enabled=True)
    running = asyncio.create_task(channel.run())
    await connecting.wait()
    running.cancel()
    ended, _ = await asyncio.wait([running], timeout=10)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await vhost.close()
    assert ended
