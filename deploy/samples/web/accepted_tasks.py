"""The tasks that this application has accepted."""

from typing import Final
from uuid import UUID

from report import KEEP_SECONDS, TASKQUEUE, TYPE, Report

from taskqueue_worker import Publisher
from taskqueue_worker.results import ResultReader, Results, TaskStatus
from taskqueue_worker.stores import RedisStore

KNOWN_SECONDS: Final = 30 * 86_400
"""How long a task is known: longer than its status, so that an expired status is told from an unknown task."""


class ExpiredError(Exception):
    """The task was accepted, and its status is not kept any more."""


class AcceptedTasks:
    """Publishes tasks, and reads their status. Its methods raise StoreUnavailableError if Redis does not answer."""

    def __init__(self, broker_url: str, redis_url: str) -> None:
        """Connect to nothing yet: the application starts without its broker and its Redis."""
        self._publisher = Publisher(broker_url, name="reports-web", timeout_seconds=5)
        self._store = RedisStore(redis_url)
        self._known_store = RedisStore(redis_url, prefix="reports-web")
        self._results = Results(self._store, keep=KEEP_SECONDS)
        self._known = Results(self._known_store, keep=KNOWN_SECONDS)
        self.reader = ResultReader(self._store)
        self._known_reader = ResultReader(self._known_store)

    async def accept(self, task_id: UUID, report: Report) -> None:
        """Publish a task, unless it is accepted already.

        An error may come after the broker has received the message. The same task is then published again with the
        same id, and the worker recognizes the duplicate. So the records follow the message: no record states a task
        that was never published.

        Raises:
            PublishFailedError: The broker did not confirm the message.
        """
        if await self._known_reader.get(str(task_id)) is not None:
            return
        await self._publisher.publish(TASKQUEUE, TASKQUEUE, report.model_dump(), type=TYPE, message_id=str(task_id))
        await self._results.announce(str(task_id), TYPE)
        await self._known.announce(str(task_id), TYPE)

    async def status(self, task_id: UUID) -> TaskStatus | None:
        """Return the status of a task; None if it is not known.

        Raises:
            ExpiredError: It is not kept any more.
        """
        status = await self.reader.get(str(task_id))
        if status is None and await self._known_reader.get(str(task_id)) is not None:
            raise ExpiredError
        return status

    async def check(self) -> None:
        """Return if the broker and Redis answer.

        Raises:
            PublishFailedError: The broker does not, or has no such queue.
        """
        await self._publisher.require(TASKQUEUE, TASKQUEUE)
        await self._known_reader.get("")

    async def close(self) -> None:
        """Close all connections."""
        await self._publisher.close()
        await self._store.close()
        await self._known_store.close()
