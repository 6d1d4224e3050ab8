"""Turns errors of the AMQP library, on the channel of a dead-letter queue, into faults."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from aiormq.exceptions import ChannelAccessRefused, ChannelClosed, ChannelNotFoundEntity

from taskqueue_operator.cancellation import is_cancelling
from taskqueue_operator.resource.faults import Fault

from . import faults
from .endpoint import Endpoint


@contextmanager
def explained(endpoint: Endpoint, queue: str, operation: str, ended: Callable[[], Fault | None]) -> Iterator[None]:
    """Turn errors into faults.

    Args:
        endpoint: The vhost of the queue.
        queue: Name of the queue.
        operation: What the user may lack the permission for, such as `read queue "jobs.dlq"`.
        ended: Returns why the channel has ended, if it is known.
    """
    try:
        yield
    except Fault:
        raise
    except ChannelAccessRefused:
        raise faults.forbidden(endpoint, endpoint.username, operation) from None
    except ChannelNotFoundEntity:
        raise faults.no_queue(endpoint, queue) from None
    except ChannelClosed as error:
        raise faults.refused(endpoint, operation, str(error)) from None
    except Exception as error:  # noqa: BLE001  the library raises a bare Exception when a connection ends
        raise ended() or faults.unreachable(endpoint, faults.cause(error)) from None
    except asyncio.CancelledError:
        # When a connection closes, aiormq cancels the tasks that wait on it, which may include this one.
        if is_cancelling():
            raise
        raise ended() or faults.unreachable(endpoint, "connection closed") from None
