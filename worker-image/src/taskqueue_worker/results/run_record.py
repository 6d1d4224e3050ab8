"""The record of one run of a task."""

import asyncio
import threading
from datetime import UTC, datetime
from typing import Any, Final

import orjson
import structlog

from taskqueue_worker.stores import StoreUnavailableError

from .records import Fields, Records, Rule
from .status import CHECKPOINT_BYTES, PROGRESS_BYTES, State, encoded

PROGRESS_PERIOD_SECONDS: Final = 1.0
"""Shortest time between two writes of the progress of a task."""

_log = structlog.get_logger("results")


class SupersededError(Exception):
    """Another worker has begun to run the task: this run must not store anything any more."""


class RunRecord:
    """What a handler stores while it runs, on the loop of the handlers or in a thread."""

    def __init__(self, records: Records, key: str, run: str, keep_seconds: float) -> None:
        """Describe a run, on the loop of the handlers."""
        self._records = records
        self._key = key
        self._fields = {"run": run}
        self._keep = keep_seconds
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._shown = asyncio.Event()
        self._progress = ""
        self._resume = ""
        self._is_open = False

    async def begin(self, type: str, attempt: int) -> None:  # noqa: A002 - the AMQP name
        """Record that the task runs. The record of a done task stays as it is, and this run stores nothing."""
        self._fields.update(type=type, attempt=str(attempt), started_at=_now())
        self._is_open, self._resume = await self._records.write(self._key, self._changed(), Rule.ALWAYS, self._keep)

    async def end(self, state: State, **fields: str) -> bool:
        """Record how the run has ended. False: another run has begun since."""
        if self._progress:
            fields["progress"] = self._progress
        return await self._write(state=state.value, **fields)

    @property
    def resume(self) -> Any:  # noqa: ANN401 - JSON of the handler
        """See `Context.resume`."""
        return orjson.loads(self._resume) if self._resume else None

    def progress(self, value: object) -> None:
        """See `Context.progress`."""
        if isinstance(value, float) and not 0 <= value <= 1:
            raise ValueError(f"progress={value!r} must be a fraction from 0 to 1, or other JSON.")
        self._progress = encoded("progress", value, PROGRESS_BYTES)
        self._loop.call_soon_threadsafe(self._shown.set)

    async def checkpoint(self, data: object) -> None:
        """See `Context.checkpoint`."""
        if not await self._write(checkpoint=encoded("checkpoint", data, CHECKPOINT_BYTES)):
            raise SupersededError(f"Task {self._key} runs elsewhere by now; this run cannot store a checkpoint.")

    def checkpoint_sync(self, data: object) -> None:
        """See `Context.checkpoint_sync`."""
        if threading.get_ident() == self._thread:
            raise RuntimeError("Use `await context.checkpoint(...)` in an `async def` handler.")
        asyncio.run_coroutine_threadsafe(self.checkpoint(data), self._loop).result()

    async def show_progress(self) -> None:
        """Store the progress whenever it has changed."""
        while True:
            await self._shown.wait()
            self._shown.clear()
            try:
                await self._write(progress=self._progress)
            except StoreUnavailableError as error:
                _log.warning("progress not stored", key=self._key, reason=str(error))
            await asyncio.sleep(PROGRESS_PERIOD_SECONDS)

    async def _write(self, **fields: str) -> bool:
        if not self._is_open:
            return True
        return (await self._records.write(self._key, self._changed(**fields), Rule.SAME_RUN, self._keep)).is_written

    def _changed(self, **fields: str) -> Fields:
        # All of them: the store may have lost the record since the last write.
        return {"state": State.RUNNING.value, "error": "", **self._fields, "changed_at": _now(), **fields}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
