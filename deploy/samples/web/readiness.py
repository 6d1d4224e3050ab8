"""Whether this process may receive requests."""

import asyncio
import logging
from typing import Final

from accepted_tasks import AcceptedTasks

from taskqueue_worker import PublishFailedError
from taskqueue_worker.stores import StoreUnavailableError

PAUSE_SECONDS: Final = 2.0

_log = logging.getLogger("uvicorn.error")


class Readiness:
    """Ready from the first time that the broker and Redis have answered, for good.

    So a rollout with a wrong address does not replace the processes before it. And an outage later does not take all
    processes out of the Service: they answer 503 with Retry-After themselves, and still show what they can.
    """

    def __init__(self) -> None:
        self.is_ready = False

    async def wait_for(self, tasks: AcceptedTasks) -> None:
        """Ask them until both have answered."""
        while not self.is_ready:
            try:
                await tasks.check()
            except (PublishFailedError, StoreUnavailableError) as error:
                _log.warning("not ready: %s", error)
                await asyncio.sleep(PAUSE_SECONDS)
            else:
                self.is_ready = True
