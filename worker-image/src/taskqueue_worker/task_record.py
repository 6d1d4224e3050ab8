"""What `Context` offers of the record of its task, which the middleware `Results` keeps in a store."""

from contextvars import ContextVar
from typing import Any, Protocol


class TaskRecord(Protocol):
    """The record of the running task."""

    @property
    def resume(self) -> Any:  # noqa: ANN401 - JSON of the handler
        """The last checkpoint of an earlier run."""
        ...

    def progress(self, value: object) -> None:
        """Show how far the task is."""
        ...

    async def checkpoint(self, data: object) -> None:
        """Store what a later run needs to go on."""
        ...

    def checkpoint_sync(self, data: object) -> None:
        """Store it from a thread."""
        ...


running_record: ContextVar[TaskRecord] = ContextVar("running_record")


def record_of_running_task() -> TaskRecord:
    """Return the record of the task that runs here.

    Raises:
        RuntimeError: It has none; the text says how it gets one.
    """
    try:
        return running_record.get()
    except LookupError:
        raise RuntimeError(
            "This task keeps no record: its message has no id, its handler has no middleware Results(...) in `around`, "
            "or it runs in another process."
        ) from None
