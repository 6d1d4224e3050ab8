"""Publishes for handlers, from their threads."""

import asyncio
import concurrent.futures
from collections.abc import Mapping
from typing import Any, Protocol, Unpack

from taskqueue_worker.trace_context import trace_headers

from .task_message import TaskOptions


class Origin(Protocol):
    """The task that publishes another one."""

    @property
    def task_id(self) -> str | None:
        """Its identity."""
        ...

    @property
    def correlation_id(self) -> str | None:
        """What its publisher relates it to."""
        ...

    @property
    def headers(self) -> Mapping[str, Any]:
        """Its headers."""
        ...


class Publishing(Protocol):
    """What publishes: a `Publisher`."""

    async def publish(self, exchange: str, routing_key: str, payload: object, **options: Unpack[TaskOptions]) -> str:
        """See `Publisher.publish`."""
        ...

    async def close(self) -> None:
        """Close the connection, if there is one."""
        ...


class TaskPublisher:
    """Publishes on the loop of the connection, on a connection of its own: no handler delays a retry or dead letter."""

    def __init__(self, publisher: Publishing) -> None:
        """Publish on the running loop."""
        self._publisher = publisher
        self._loop = asyncio.get_running_loop()

    def submit(
        self, origin: Origin, exchange: str, routing_key: str, payload: object, **options: Unpack[TaskOptions]
    ) -> "concurrent.futures.Future[str]":
        """Begin to publish a task; callable from every thread. See `Publisher.publish`."""
        if options.get("correlation_id") is None:
            options["correlation_id"] = origin.correlation_id or origin.task_id
        options["headers"] = {**trace_headers(origin.headers), **(options.get("headers") or {})}
        publishing = self._publisher.publish(exchange, routing_key, payload, **options)
        return asyncio.run_coroutine_threadsafe(publishing, self._loop)

    async def close(self) -> None:
        """Close the connection, if there is one."""
        await self._publisher.close()
