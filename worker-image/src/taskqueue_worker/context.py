"""What a handler knows of its task, and may ask for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, Unpack

from .task_record import record_of_running_task

if TYPE_CHECKING:
    import asyncio
    import concurrent.futures

    from structlog.typing import FilteringBoundLogger

    from .publishing.task_message import TaskOptions


class Submit(Protocol):
    """Begins to publish a task, from every thread."""

    def __call__(
        self, exchange: str, routing_key: str, payload: object, **options: "Unpack[TaskOptions]"
    ) -> "concurrent.futures.Future[str]":
        """See `TaskPublisher.submit`."""
        ...


@dataclass(frozen=True, slots=True)
class Context:
    """The properties of the task that a handler runs."""

    task_id: str | None
    """The AMQP `message_id`: the same at each redelivery. None if the publisher set none."""
    type: str
    routing_key: str
    headers: Mapping[str, Any]
    redelivered: bool
    """Whether the broker delivered the message before: another worker may have started the task."""
    deadline: datetime
    """When the task is cancelled and has failed, in UTC."""
    attempt: int
    """Number of this attempt, from 1."""
    state: Any
    """What the `@lifespan` of the application has yielded; None without one."""
    draining: "asyncio.Event"
    """Set at SIGTERM: a long handler may save its progress and return early. Threads may read it too."""
    log: "FilteringBoundLogger"
    """A logger whose lines carry `task_id` and `type`."""
    publish_from: "Submit | None" = field(default=None, repr=False)
    """Begins to publish a task; None in a process of its own, which has no connection."""

    @property
    def resume(self) -> Any:  # noqa: ANN401 - JSON of the handler
        """The last checkpoint of an earlier run of this task; None if there is none. Needs the middleware `Results`."""
        return record_of_running_task().resume

    def progress(self, value: object) -> None:
        """Show how far the task is: a fraction from 0 to 1, or JSON of at most 4 KiB. Needs the middleware `Results`.

        It costs little to call it often: the newest value is stored once a second.
        """
        record_of_running_task().progress(value)

    async def checkpoint(self, data: object) -> None:
        """Store JSON of at most 64 KiB, from which a later run goes on. Needs the middleware `Results`.

        Raises:
            ValueError: The data is no JSON, or too large.
            SupersededError: Another worker has begun to run the task.
            StoreUnavailableError: It is not stored, or not in time.
        """
        await record_of_running_task().checkpoint(data)

    def checkpoint_sync(self, data: object) -> None:
        """Store a checkpoint from a `def` handler, as `checkpoint` does."""
        record_of_running_task().checkpoint_sync(data)

    async def publish(self, exchange: str, routing_key: str, payload: object, **options: "Unpack[TaskOptions]") -> str:
        """Publish another task from an `async def` handler, and return its `message_id` once its queues have it.

        The options are those of `Publisher.publish`. The task has the correlation id and the trace of this one, unless
        the options have others.

        Raises:
            UnroutableError, PublishFailedError, PayloadError, TypeError, ValueError: As `Publisher.publish`.
        """
        import asyncio  # not before the signal handlers of the process are installed

        return await asyncio.wrap_future(self._submit(exchange, routing_key, payload, **options))

    def publish_sync(self, exchange: str, routing_key: str, payload: object, **options: "Unpack[TaskOptions]") -> str:
        """Publish another task from a `def` handler, as `publish` does.

        Raises:
            RuntimeError: The caller is an `async def` handler, whose loop would wait.
            UnroutableError, PublishFailedError, PayloadError, TypeError, ValueError: As `Publisher.publish`.
        """
        import asyncio  # likewise

        if asyncio._get_running_loop() is not None:  # noqa: SLF001 - as get_running_loop, which raises
            raise RuntimeError("Use `await context.publish(...)` in an `async def` handler.")
        return self._submit(exchange, routing_key, payload, **options).result()

    @property
    def _submit(self) -> "Submit":
        if self.publish_from is None:
            raise RuntimeError(
                "The context of a task that runs in a process of its own cannot publish. Use SyncPublisher."
            )
        return self.publish_from
