"""Finds out what a worker may do at its broker, without a change: for `check`, before a rollout.

RabbitMQ looks at the rights of the user first. So it refuses each request here afterwards, for another reason:
an argument that is not valid, or a message that names another user. That refusal shows that the right is there.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any, Final, NamedTuple

from aio_pika.abc import AbstractConnection
from aiormq.abc import AbstractChannel
from aiormq.exceptions import ChannelAccessRefused, ChannelClosed, ChannelNotFoundEntity
from pamqp.commands import Basic

from taskqueue_drain.aio import is_cancellation_requested
from taskqueue_drain.aio_pika.connection import CONNECTION_ERRORS, close, connect
from taskqueue_drain.protocol import EXCHANGE as REPORTS

from .consumer import CHANNEL_ERRORS, RPC_TIMEOUT_SECONDS
from .publishing.delay_queues import RETURN_EXCHANGE, delay_arguments, delay_queue, marker_queue
from .settings import Settings

NO_USER: Final = "taskqueue-check"
NO_QUEUE: Final = "taskqueue.check"
NO_DELAY: Final = delay_queue(0)
"""The shortest delay queue of workers is that of 1 s."""
PERMISSIONS: Final = "docs/topology.md#permissions lists what workers need."


class Finding(NamedTuple):
    """What is known of one object of the broker."""

    name: str
    problem: str | None
    """What is wrong, and the way out."""
    is_warning: bool = False
    """Whether a worker runs all the same."""


class _Request(NamedTuple):
    """A request that the broker refuses for a reason of no interest, if the worker may do `right`."""

    name: str
    right: str
    send: Callable[[AbstractChannel], Awaitable[object]]
    missing: str
    """The way out if the object does not exist."""
    is_warning: bool = False


async def check_broker(settings: Settings) -> AsyncIterator[Finding]:
    """Yield what is found of each object that the worker uses; only the connection, if there is none."""
    consume = settings.consume
    address = consume.broker.read().address
    try:
        connection = await connect(consume.broker, f"{settings.name} check")
    except CONNECTION_ERRORS as error:
        yield Finding(
            address, f"{str(error) or repr(error)}. Correct the address or the credentials, or use --offline."
        )
        return
    try:
        yield Finding(address, None)
        for request in _requests(settings):
            yield Finding(request.name, await _problem(connection, request), request.is_warning)
    finally:
        await close(connection)


def _requests(settings: Settings) -> Iterable[_Request]:
    for queue in settings.consume.queues:
        yield _Request(f"queue {queue}", "read", _consume(queue), "Create its TaskQueue, or correct TASKQUEUE_QUEUES.")
    target = settings.dead_letter_target.exchange
    missing = "Create the exchange, or correct TASKQUEUE_DEAD_LETTER_EXCHANGE."
    yield _Request(f"exchange {target or 'amq.default'}", "write", _publish(target), missing)
    reports = "No operator serves this vhost: it never removes this worker."
    yield _Request(f"exchange {REPORTS}", "write", _publish(REPORTS), reports, is_warning=True)
    if settings.retry_policy is not None and not settings.retry_policy.by_broker:
        missing = "The operator creates it for a TaskQueue with spec.retry.backoff."
        yield _Request(f"exchange {RETURN_EXCHANGE}", "write", _publish(RETURN_EXCHANGE), missing)
        invalid = {**delay_arguments(1), "x-message-ttl": -1}
        yield _Request("queues taskqueue.delay.*", "configure, write and read", _declare(NO_DELAY, invalid), "")
        for queue in settings.consume.queues:
            markers = marker_queue(queue)
            yield _Request(f"queue {markers}", "configure", _declare(markers, {"x-expires": -1}), "")


def _consume(queue: str) -> Callable[[AbstractChannel], Awaitable[object]]:
    return lambda channel: channel.basic_consume(queue, _ignore, arguments={"x-priority": "none"})


def _publish(exchange: str) -> Callable[[AbstractChannel], Awaitable[object]]:
    # A user who may impersonate others publishes the message; by then it is expired, and for no queue.
    properties = Basic.Properties(user_id=NO_USER, expiration="0")
    return lambda channel: channel.basic_publish(b"", exchange=exchange, routing_key=NO_QUEUE, properties=properties)


def _declare(queue: str, arguments: dict[str, Any]) -> Callable[[AbstractChannel], Awaitable[object]]:
    return lambda channel: channel.queue_declare(queue, durable=True, arguments=arguments)


async def _ignore(_: object) -> None:
    """No message comes."""


async def _problem(connection: AbstractConnection, request: _Request) -> str | None:
    try:
        async with asyncio.timeout(RPC_TIMEOUT_SECONDS):
            refusal = await _refusal(connection, request)
    except CHANNEL_ERRORS as error:
        return f"The broker did not answer: {error!r}. Try again."
    match refusal:
        case ChannelAccessRefused():
            return f"The user of the worker may not {request.right} it. {PERMISSIONS}"
        case ChannelNotFoundEntity():
            return f"It does not exist. {request.missing}"
        case _:
            return None


async def _refusal(connection: AbstractConnection, request: _Request) -> ChannelClosed | None:
    """Return why the broker closed the channel of the request; None if it did not."""
    channel = connection.channel(publisher_confirms=True)
    closed: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
    channel.close_callbacks.add(lambda _, reason: None if closed.done() else closed.set_result(reason))
    await channel.initialize()
    underlay = await channel.get_underlay_channel()
    try:
        await request.send(underlay)
    except ChannelClosed as error:
        return error
    except asyncio.CancelledError:
        if is_cancellation_requested():
            raise
    with suppress(*CHANNEL_ERRORS):
        await channel.close()
    reason = await closed
    return reason if isinstance(reason, ChannelClosed) else None
