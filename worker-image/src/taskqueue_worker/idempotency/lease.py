"""The right to run a task, renewed while it runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from typing import Final

import structlog

from taskqueue_worker.outcomes import Requeue
from taskqueue_worker.stores import StoreUnavailableError
from taskqueue_worker.stores.background import end

from .claims import Claims

RENEWALS: Final = 3
"""Renewals within one lease."""

_log = structlog.get_logger("idempotency")
_current: ContextVar["Lease"] = ContextVar("lease")


class Lease:
    """The right to run a task.

    Attributes:
        fence: The fencing token. It grows with each lease of the task, so what a handler writes to can refuse one that
            is older than the last it has seen.
        is_lost: Whether another worker has taken over. An `async def` handler is then cancelled; a `def` handler
            should read this.
    """

    def __init__(self, claims: Claims, key: str, fence: int, seconds: float) -> None:
        self._claims = claims
        self._key = key
        self._seconds = seconds
        self.fence = fence
        self.is_lost = False

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Renew the lease meanwhile. If it is lost, cancel the task that runs inside.

        Raises:
            Requeue: The lease was lost.
        """
        run = asyncio.current_task()
        assert run is not None  # noqa: S101 - every coroutine has one
        renewal = asyncio.create_task(self._renew(run))
        token = _current.set(self)
        try:
            yield
        except asyncio.CancelledError:
            if self.is_lost and not run.uncancel():
                raise Requeue("Another worker has taken the task over, because its lease was not renewed.") from None
            raise
        else:
            if self.is_lost:  # a thread does not end when it is cancelled
                run.uncancel()
        finally:
            _current.reset(token)
            await end(renewal)

    async def finish(self, keep_seconds: float) -> bool:
        """Remember that the task is done."""
        return await self._claims.finish(self._key, self.fence, keep_seconds)

    async def release(self) -> None:
        """Let another worker run the task at once. If that fails, it waits for the end of the lease."""
        with suppress(StoreUnavailableError):
            await self._claims.release(self._key, self.fence)

    async def _renew(self, run: asyncio.Task[object]) -> None:
        while not self.is_lost:
            await asyncio.sleep(self._seconds / RENEWALS)
            try:
                self.is_lost = not await self._claims.hold(self._key, self.fence, self._seconds)
            except StoreUnavailableError as error:
                _log.warning("lease not renewed", key=self._key, reason=str(error))
        _log.error("lease lost", key=self._key, fence=self.fence)
        run.cancel()


def current_lease() -> Lease:
    """Return the lease of the task that this handler runs.

    Raises:
        LookupError: The task has none: it is not `idempotent`, has no id, or runs without its store.
    """
    return _current.get()
