"""A peer that is no broker costs its own control channel a fault, and ends nothing."""

import asyncio
from datetime import UTC, datetime

from taskqueue_operator.rabbitmq.vhost import VhostFactory
from taskqueue_operator.resource.faults import Reason
from taskqueue_operator.resource.names import Key
from tests.bench.played.amqp import AmqpConnection


async def test_a_peer_without_capabilities_is_a_fault_and_the_control_channel_tries_again() -> None:
    connects: asyncio.Queue[None] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = AmqpConnection(reader, writer, lambda _address, _command: None)
        connects.put_nowait(None)
        try:
            await connection.open(capabilities={})
            await connection.serve()
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
