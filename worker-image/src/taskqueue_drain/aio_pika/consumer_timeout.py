"""Lets a consumer of aio-pika ask for the consumer timeout that its tasks need."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from aio_pika.abc import AbstractQueue
from aio_pika.exceptions import ChannelPreconditionFailed
from aiormq.abc import DeliveredMessage

from taskqueue_drain.aio import cancellation_kept, is_cancellation_requested
from taskqueue_drain.consume_settings import CONSUMER_TIMEOUT
from taskqueue_drain.protocol_log import log

from .delivery import CHANNEL_ERRORS

CALL_TIMEOUT_SECONDS: Final = 10
CLOSE_TIMEOUT_SECONDS: Final = 1
FOR_STREAMS: Final = {"x-stream-offset": "first"}
"""Every other queue refuses it, in each version of RabbitMQ. So no message is delivered to the channel that asks."""


async def with_consumer_timeout(
    queue: AbstractQueue, arguments: Mapping[str, Any] | None, milliseconds: int
) -> dict[str, Any]:
    """Return the arguments of a consumer with this timeout, unless the application sets one or the broker refuses it.

    RabbitMQ 4.3 refuses it for classic queues, which never time out there. Versions before 4.3 ignore it.
    """
    arguments = dict(arguments or {})
    if CONSUMER_TIMEOUT in arguments or CONSUMER_TIMEOUT in (queue.arguments or {}):
        return arguments
    asked = {CONSUMER_TIMEOUT: milliseconds}
    try:
        with cancellation_kept():
            async with asyncio.timeout(CALL_TIMEOUT_SECONDS):
                is_accepted = await _is_accepted(queue, asked)
    except (*CHANNEL_ERRORS, asyncio.CancelledError) as error:
        if is_cancellation_requested():
            raise
        log.warning("queue %s has no consumer timeout of its own: %s", queue.name, str(error) or repr(error))
        return arguments
    return arguments | asked if is_accepted else arguments


async def _is_accepted(queue: AbstractQueue, asked: dict[str, Any]) -> bool:
    """Ask on a further channel: a refusal closes it, and tasks may already run on the channel of the queue."""
    underlay = await queue.channel.get_underlay_channel()
    channel = await underlay.connection.channel(publisher_confirms=False)
    try:
        # RabbitMQ names the first argument that it refuses.
        await channel.basic_consume(queue.name, _ignore, arguments=asked | FOR_STREAMS)
    except ChannelPreconditionFailed as error:
        return CONSUMER_TIMEOUT not in str(error)
    finally:
        with suppress(*CHANNEL_ERRORS):
            async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
                await channel.close()
    return False


async def _ignore(message: DeliveredMessage) -> None:
    """The broker delivers the message again when the channel is closed."""
