"""Reads the status of tasks, for example in a web application."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from taskqueue_worker.stores import Store
from taskqueue_worker.stores.keys import key

from .middleware import records_of
from .status import TaskStatus

PERIOD_SECONDS: Final = 0.5


class ResultReader:
    """Reads what the middleware `Results` has stored, on the event loop of the caller."""

    def __init__(self, store: Store) -> None:
        self._records = records_of(store)

    async def get(self, task_id: str) -> TaskStatus | None:
        """Return the status of a task; None if it is not known, or not any more.

        Raises:
            StoreUnavailableError: It cannot be read in time.
        """
        fields = await self._records.read(key(task_id))
        return None if fields is None else TaskStatus.of(task_id, fields)

    async def changes(self, task_id: str) -> AsyncIterator[TaskStatus]:
        """Yield the status of a task now and after each change, until it is final. It is read twice a second.

        Raises:
            StoreUnavailableError: It cannot be read in time.
        """
        last = None
        while last is None or not last.is_final:
            status = await self.get(task_id)
            if status is not None and status != last:
                yield status
                last = status
            else:
                await asyncio.sleep(PERIOD_SECONDS)
