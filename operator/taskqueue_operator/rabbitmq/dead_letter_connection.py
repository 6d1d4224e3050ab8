"""Connects to a dead-letter queue, if reading it cannot delete its messages."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

from taskqueue_operator.dead_letters.delivery_limit import (
    NOT_SHOWN,
    counts_every_return,
    drops_nothing,
    limit_unknown,
    limited,
)
from taskqueue_operator.resource import bounds
from taskqueue_operator.resource.faults import Fault
from taskqueue_operator.resource.names import MANAGER

from . import amqp_library, faults
from .access import Access
from .bounded_connection import CONNECTION_LOST, ReadLimits, bounded_connection
from .dead_letter_arrivals import Arrivals
from .dead_letter_queue import DeadLetterQueue
from .endpoint import Endpoint
from .management import Management
from .management_requests import segment
from .network import Network
from .probe_connection import ProbeConnection

CONNECTION_NAME: Final = f"{MANAGER} dlq"
CONNECT_TIMEOUT_SECONDS: Final = 8.0
CLOSE_TIMEOUT_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Mode:
    """How much of each message is received, and how many are delivered ahead."""

    limits: ReadLimits
    window: int


BROWSE: Final = Mode(
    ReadLimits(bounds.DEAD_LETTER_PROPERTIES_BYTES, bounds.DEAD_LETTER_SHOWN_BODY_BYTES), bounds.BROWSE_WINDOW
)
"""Bodies are only shown."""
REDRIVE: Final = Mode(
    ReadLimits(bounds.DEAD_LETTER_PROPERTIES_BYTES, bounds.DEAD_LETTER_BODY_BYTES), bounds.REDRIVE_WINDOW
)
"""Messages are copied."""


@asynccontextmanager
async def opened(
    endpoint: Endpoint, name: str, mode: Mode, *, network: Network | None = None, unlimited: bool = False
) -> AsyncIterator[DeadLetterQueue]:
    """Connect to a queue. At the end, messages that are not acknowledged return to it.

    Args:
        endpoint: The vhost of the queue.
        name: Name of the queue.
        mode: What is received.
        network: By which to connect.
        unlimited: Whether the user says that the queue has no delivery limit; then it is not checked.

    Raises:
        Fault: The broker cannot be used, the queue does not exist, or a listing could delete messages.
    """
    amqp_library.correct()
    network = network or Network()
    await _check_login(endpoint, network)
    arrivals = Arrivals()
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
            connection = await bounded_connection(network, endpoint, CONNECTION_NAME, mode.limits, arrivals)
    except CONNECTION_LOST as error:
        raise faults.unreachable(endpoint, faults.cause(error)) from None
    try:
        queue = await DeadLetterQueue.open(connection, endpoint, name, window=mode.window, arrivals=arrivals)
        await queue.ready()
        if not unlimited:
            await _check_delivery_limit(endpoint, network, queue)
        try:
            yield queue
        finally:
            with suppress(Fault):
                await queue.release()
    finally:
        with suppress(*CONNECTION_LOST):
            async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
                await connection.close()


async def _check_login(endpoint: Endpoint, network: Network) -> None:
    """Connect once with our own handshake: the AMQP library does not tell why the broker refuses a user or a vhost."""
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
            connection = await ProbeConnection.open(network, endpoint, CONNECTION_NAME)
    except (OSError, EOFError) as error:
        raise faults.unreachable(endpoint, faults.cause(error)) from None
    await connection.close()


async def _check_delivery_limit(endpoint: Endpoint, network: Network, queue: DeadLetterQueue) -> None:
    """Check that no message reaches the delivery limit of the queue, where each listing counts towards it."""
    if not counts_every_return(queue.version):
        return
    management = Management(Access(endpoint, network).for_management())
    try:
        found = await management.read_object(
            f"queues/{{vhost}}/{segment(queue.name)}", operation=f'read queue "{queue.name}"'
        )
    except Fault as fault:
        raise limit_unknown(queue.name, queue.version, fault.message) from None
    finally:
        await management.close()
    safe = drops_nothing(found, queue.version)
    if safe is None:
        raise limit_unknown(queue.name, queue.version, NOT_SHOWN)
    if not safe:
        raise limited(queue.name, queue.version)
