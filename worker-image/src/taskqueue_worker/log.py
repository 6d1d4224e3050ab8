"""Logs on stdout, for the worker, its handlers and every library: JSON lines, or readable ones on a terminal."""

import io
import json
import logging
import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final, Protocol

import orjson
import structlog
from structlog.typing import EventDict, Processor


class LoggedTask(Protocol):
    """What each line says of the task that runs."""

    @property
    def log_fields(self) -> dict[str, object]:
        """The fields."""
        ...


CURRENT_TASK: Final[ContextVar[LoggedTask | None]] = ContextVar("current_task", default=None)
"""The task that runs in this context. One variable, which is read only for a line: most tasks write none."""


def configure(level: int = logging.INFO, *, is_readable: bool | None = None) -> None:
    """Write the lines of structlog and of the standard library to stdout.

    Args:
        level: The least severe lines to write.
        is_readable: Whether lines are for people; else each is a JSON object. Default: whether stdout is a terminal.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _merge_task,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if sys.stdout.isatty() if is_readable is None else is_readable:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # an error may contain text that is not valid Unicode
        own: list[Processor] = [
            structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty(), exception_formatter=structlog.dev.plain_traceback)
        ]
        foreign = own
        factory: Callable[..., object] = structlog.WriteLoggerFactory()
    else:
        shared.append(structlog.processors.format_exc_info)
        own = [structlog.processors.JSONRenderer(serializer=_line)]
        foreign = [structlog.processors.JSONRenderer(serializer=lambda event, **_: _line(event).decode())]
        factory = structlog.BytesLoggerFactory()
    structlog.configure(
        processors=[*shared, *own],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *foreign],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    quiet_libraries()


def quiet_libraries() -> None:
    """Silence the AMQP libraries: the worker logs each lost connection itself, in one line."""
    for library in ("aio_pika", "aiormq"):
        logging.getLogger(library).setLevel(logging.CRITICAL)


def _merge_task(_: object, __: str, event: EventDict) -> EventDict:
    task = CURRENT_TASK.get()
    if task is not None:
        for name, value in task.log_fields.items():
            event.setdefault(name, value)
    return event


def _line(event: dict[str, Any], **_: object) -> bytes:
    try:
        return orjson.dumps(event, default=repr, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:
        # Text that is not valid Unicode, which a stack trace may contain.
        return json.dumps(event, default=repr).encode()
