"""A message as taskiq gets it: acknowledged if its task is done, rejected if the task has failed."""

from collections.abc import Awaitable, Callable

from taskqueue_drain.aio_pika.delivery import Delivery


class TaskMessage:
    """Takes the place of the message of aio-pika.

    Attributes:
        delivery: Its delivery.
        task_id: The id of its task, once the task has begun.
        is_done: Whether the task has ended without an error.
        is_retried: Whether the task was sent again.
        is_manual: Whether the task itself acknowledges.
    """

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self.task_id: str | None = None
        self.is_done = False
        self.is_retried = False
        self.is_manual = False

    @classmethod
    def of(cls, ack: Callable[[], Awaitable[None] | None]) -> "TaskMessage | None":
        """Return the message whose `ack` this is: taskiq keeps nothing else of it."""
        owner = getattr(ack, "__self__", None)
        return owner if isinstance(owner, cls) else None

    @property
    def body(self) -> bytes:
        """The body of the message."""
        return self.delivery.body

    async def ack(self) -> None:
        """Taskiq acknowledges, before the task begins or after it has ended."""
        if self.task_id is None or self.is_done or self.is_retried:
            await self.delivery.ack()
        else:
            await self.delivery.reject(requeue=False)

    async def nack(self, **_: object) -> None:
        """Taskiq ends, and the task has not begun."""
        await self.delivery.requeue()
