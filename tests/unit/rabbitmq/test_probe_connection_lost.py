"""A probe connection that is reset while it is used, with uvloop and real sockets."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop
from pamqp import commands

from taskqueue_operator.rabbitmq.network import Network
from taskqueue_operator.rabbitmq.probe_connection import ProbeBatch, ProbeConnection

from .fake_amqp import ENDPOINT

RESET = struct.pack("ii", 1, 0)


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()


async def probe_until_closed(connection: ProbeConnection) -> list[ProbeBatch]:
    batches = [connection.probe(["jobs"])]
    while not connection.closed:
        await asyncio.sleep(0)
        batches.append(connection.probe(["jobs"]))
    return batches


def close_after(turns: int) -> Callable[[ProbeConnection], Awaitable[list[ProbeBatch]]]:
    async def close(connection: ProbeConnection) -> list[ProbeBatch]:
        batches = [connection.probe(["jobs"])]
        connection._writer.transport.abort()
        for _ in range(turns):
            await asyncio.sleep(0)
        await connection.close()
        return batches

    return close


@pytest.mark.parametrize("action", [probe_until_closed, *map(close_after, range(4))])
def test_a_probe_on_a_reset_connection_gets_no_answer_and_raises_nothing(
    action: Callable[[ProbeConnection], Awaitable[list[ProbeBatch]]],
) -> None:
    unhandled: list[dict[str, Any]] = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
        server = await asyncio.start_server(reset, "127.0.0.1", 0)
        with contextlib.closing(server):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            limits = commands.Connection.TuneOk(2047, 131072, 15)
            connection = ProbeConnection(reader, writer, limits, Network().amqp_pace(ENDPOINT))
            async with asyncio.timeout(10):
                batches = await action(connection)
                await asyncio.wait([connection._reading, connection._beating])
        assert connection.closed
        assert all(batch.done.done() and not batch.ready for batch in batches)

    for _ in range(5):
        uvloop.run(run())
    assert unhandled == []
