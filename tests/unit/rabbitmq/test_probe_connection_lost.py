"""A connection that is lost while others still write to it, on the loop and the sockets of production."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop
from pamqp import commands

from taskqueue_operator.rabbitmq.probe_connection import ProbeBatch, ProbeConnection

RESET = struct.pack("ii", 1, 0)


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()


async def ask_on(connection: ProbeConnection) -> list[ProbeBatch]:
    asked = [connection.probe(["jobs"])]
    while not connection.closed:
        await asyncio.sleep(0)
        asked.append(connection.probe(["jobs"]))
    return asked


def close_after(turns: int) -> Callable[[ProbeConnection], Awaitable[list[ProbeBatch]]]:
    async def close(connection: ProbeConnection) -> list[ProbeBatch]:
        asked = [connection.probe(["jobs"])]
        connection._writer.transport.abort()
        for _ in range(turns):
            await asyncio.sleep(0)
        await connection.close()
        return asked

    return close


@pytest.mark.parametrize("act", [ask_on, *map(close_after, range(4))])
def test_who_writes_to_a_connection_that_was_reset_has_no_answer_and_no_exception(
    act: Callable[[ProbeConnection], Awaitable[list[ProbeBatch]]],
) -> None:
    unheard: list[dict[str, Any]] = []

    async def lose() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))
        server = await asyncio.start_server(reset, "127.0.0.1", 0)
        with contextlib.closing(server):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            connection = ProbeConnection(reader, writer, commands.Connection.TuneOk(2047, 131072, 15))
            async with asyncio.timeout(10):
                asked = await act(connection)
                await asyncio.wait([connection._reading, connection._beating])
        assert connection.closed
        assert all(each.done.done() and not each.ready for each in asked)

    for _ in range(5):
        uvloop.run(lose())
    assert unheard == []
