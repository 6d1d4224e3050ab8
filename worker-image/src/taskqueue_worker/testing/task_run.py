"""What a test learns of a task that ran."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from taskqueue_drain import copy_headers


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter, as it is in the dead-letter queue."""

    body: bytes
    headers: Mapping[str, Any]

    @property
    def reason(self) -> str:
        """The header `x-failure-reason`: `failed`, `timeout`, `rejected`, `invalid_payload`, `unknown_type`, ..."""
        return str(self.headers[copy_headers.REASON])

    @property
    def error(self) -> str:
        """The text of the last error."""
        return str(self.headers[copy_headers.ERROR_TEXT])


@dataclass(frozen=True, slots=True)
class PublishedTask:
    """What a handler has published by its context."""

    exchange: str
    routing_key: str
    payload: object
    options: Mapping[str, Any]
    """The options of `Publisher.publish`, with the correlation id and the trace that are carried on."""


@dataclass(frozen=True, slots=True)
class TaskRun:
    """All attempts of a task, from its publish until its message has left the queue."""

    statuses: tuple[str, ...]
    """How each run ended: `done`, `failed`, `timeout`, `requeued`, `rejected`, ..."""
    delays: tuple[float, ...]
    """Seconds before each further run. They did not pass."""
    dead_letter: DeadLetter | None
    published: tuple[PublishedTask, ...] = ()

    @property
    def status(self) -> str:
        """How the last run ended."""
        return self.statuses[-1]

    @property
    def is_done(self) -> bool:
        """Whether the message was acknowledged because the task is done."""
        return self.dead_letter is None
