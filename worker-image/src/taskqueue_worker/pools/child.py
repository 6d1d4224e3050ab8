"""A child: runs the tasks that the worker sends it, one after the other, until the worker closes the connection."""

import inspect
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import fields
from multiprocessing.connection import Connection
from typing import Any

import structlog

from taskqueue_worker.log import CURRENT_TASK
from taskqueue_worker.run import NotRunError
from taskqueue_worker.tasks import Context, Registry

from .draining import DrainingEvent
from .memory import held_bytes
from .messages import Request, decode_request, encode_error, encode_reply


class Child:
    """Runs tasks in the main thread of its process, which is where libraries expect to be."""

    def __init__(
        self, connection: Connection, registry: Registry, draining: DrainingEvent, *, reports_memory: bool
    ) -> None:
        self._connection = connection
        self._registry = registry
        self._draining = draining
        self._reports_memory = reports_memory
        self._held_at_start = held_bytes()

    def run(self) -> None:
        """Run tasks until the worker closes the connection."""
        with suppress(EOFError, OSError):
            while True:
                self._connection.send_bytes(self._reply(self._connection.recv_bytes()))

    def _reply(self, encoded: bytes) -> bytes:
        try:
            request = decode_request(encoded)
            result = self._call(request)
        except BaseException as error:  # noqa: BLE001 - whatever user code raises
            return encode_error(error, self._held)
        return encode_reply(result if request.wants_result else None, self._held)

    def _call(self, request: Request) -> object:
        CURRENT_TASK.set(request)
        handler = self._registry.get(request.type, request.version)
        if handler is None:
            raise NotRunError(
                f"The child has no handler for {request.type!r}. Register it when its module is imported."
            )
        values = request.context
        arguments = (request.payload,) if values is None else (request.payload, self._context(values))
        return _checked(handler.function, *arguments)

    def _context(self, values: Mapping[str, Any]) -> Context:
        log = structlog.get_logger("task").bind(task_id=values["task_id"], type=values["type"])
        empty = dict.fromkeys((field.name for field in fields(Context)), None)
        own: dict[str, Any] = {"draining": self._draining, "log": log}
        return Context(**{**empty, **values, **own})

    @property
    def _held(self) -> int:
        return max(0, held_bytes() - self._held_at_start) if self._reports_memory else 0


def _checked(function: Callable[..., object], *arguments: object) -> object:
    result = function(*arguments)
    if inspect.iscoroutine(result):
        result.close()
        raise NotRunError('The handler returned a coroutine. A task with pool="process" needs a `def` handler.')
    return result
