"""Opens a connection to the broker, and closes it."""

import asyncio
from contextlib import suppress
from typing import Final, TypeVar

import aio_pika
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AMQPError
from aiormq.exceptions import InvalidFrameError

from taskqueue_drain.broker import CONNECT_TIMEOUT_SECONDS, BrokerError, BrokerSource

from .amqp_names import accept_any_name
from .unreadable_properties import accept_any_properties

CLOSE_TIMEOUT_SECONDS: Final = 5
# aiormq raises StopAsyncIteration when the broker closes the connection during the handshake.
CONNECTION_ERRORS: Final = (AMQPError, OSError, RuntimeError, BrokerError, StopAsyncIteration)

ConnectionType = TypeVar("ConnectionType", bound=aio_pika.Connection)


async def connect(source: BrokerSource, name: str) -> AbstractConnection:
    """Open a connection with the current credentials.

    Raises:
        BrokerError, AMQPError, OSError: The connection cannot be opened. The text holds no secret.
    """
    return await connect_as(aio_pika.Connection, source, name)


async def connect_as(kind: type[ConnectionType], source: BrokerSource, name: str) -> ConnectionType:
    """Open a connection of this class with the current credentials.

    Raises:
        BrokerError, AMQPError, OSError: The connection cannot be opened. The text holds no secret.
    """
    broker = source.read()
    accept_any_name()
    accept_any_properties()
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
            arguments = broker.connect_arguments(name)
            connection: ConnectionType = await aio_pika.connect(**arguments, connection_class=kind)
            return connection
    except InvalidFrameError as error:
        # aiormq raises this when the broker closes the connection instead of opening the vhost.
        raise BrokerError(
            f"The broker refused vhost {broker.vhost!r}: it does not exist, or user {broker.username!r} may not "
            "access it. Check the vhost and the permissions of the user."
        ) from error
    except TimeoutError as error:
        raise BrokerError(f"{broker.address} did not answer within {CONNECT_TIMEOUT_SECONDS} s.") from error


async def close(connection: AbstractConnection) -> None:
    """Close the connection gracefully. A connection that is already lost is no error."""
    with suppress(*CONNECTION_ERRORS, asyncio.CancelledError):
        async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
            await connection.close()
