"""The status of a task, and its form in a store: texts by name. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Self

import orjson

PROGRESS_BYTES: Final = 4096
CHECKPOINT_BYTES: Final = 65_536
RESULT_BYTES: Final = 65_536


class State(StrEnum):
    """What a task does."""

    QUEUED = "queued"
    """It waits for a worker."""
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    """Its last attempt failed; another one follows, or it is dead-lettered."""
    DEAD = "dead"
    """It is dead-lettered."""


@dataclass(frozen=True, slots=True)
class TaskStatus:
    """What is known of a task. Its times are those of the workers' clocks, in UTC."""

    task_id: str
    type: str
    state: State
    attempt: int
    """Number of the last attempt; 0 before the first."""
    progress: Any
    """What the handler showed last; None before that."""
    result: Any
    """What the handler returned."""
    error: str | None
    """Why the last attempt failed, why the task is dead-lettered, or why its result is not kept."""
    changed_at: datetime
    started_at: datetime | None
    """When the last attempt began."""

    @property
    def is_final(self) -> bool:
        """Whether nothing changes any more, unless a dead letter is returned to its queue."""
        return self.state in {State.DONE, State.DEAD}

    @classmethod
    def of(cls, task_id: str, fields: Mapping[str, str]) -> Self:
        """Read the fields of a store."""
        started_at = fields.get("started_at")
        return cls(
            task_id=task_id,
            type=fields["type"],
            state=State(fields["state"]),
            attempt=int(fields.get("attempt", "0")),
            progress=_decoded(fields.get("progress")),
            result=_decoded(fields.get("result")),
            error=fields.get("error") or None,
            changed_at=datetime.fromisoformat(fields["changed_at"]),
            started_at=None if started_at is None else datetime.fromisoformat(started_at),
        )


def encoded(what: str, value: object, longest: int) -> str:
    """Return a value as JSON.

    Raises:
        ValueError: It is no JSON, or too long.
    """
    try:
        text = orjson.dumps(value)
    except TypeError as error:
        raise ValueError(f"{what} must be JSON: {error}") from error
    if len(text) > longest:
        raise ValueError(f"{what} has {len(text)} bytes of JSON; at most {longest} are kept.")
    return text.decode()


def _decoded(text: str | None) -> Any:  # noqa: ANN401 - JSON
    return orjson.loads(text) if text else None
