"""Keeps the status, progress, checkpoint and result of tasks."""

import asyncio
from datetime import UTC, datetime
from typing import Final, Literal, Self
from uuid import uuid4

import structlog

from taskqueue_worker.dead_letters import Problem, one_line
from taskqueue_worker.delivery import Delivery
from taskqueue_worker.failure import Failure
from taskqueue_worker.middleware import Call, Proceed
from taskqueue_worker.outcomes import Duplicate, Requeue
from taskqueue_worker.stores import PostgresStore, Store, StoreUnavailableError
from taskqueue_worker.stores.background import end
from taskqueue_worker.stores.keys import key, positive
from taskqueue_worker.stores.unavailable import TRIES, OnUnavailable, Pauses, report_end
from taskqueue_worker.task_record import running_record

from .postgres_records import PostgresRecords
from .records import Records, Rule
from .redis_records import RedisRecords
from .run_record import RunRecord
from .status import RESULT_BYTES, State, encoded

KEEP_SECONDS: Final = 7 * 86_400.0

_log = structlog.get_logger("results")


class Results:
    """Keeps a record of each task that has an id. Inside of `Idempotent`, so that no duplicate changes it."""

    def __init__(
        self, store: Store, *, keep: float = KEEP_SECONDS, on_unavailable: Literal["retry", "run"] = "retry"
    ) -> None:
        """Keep records in a store.

        Args:
            store: Where.
            keep: How many seconds a record is kept after its last change.
            on_unavailable: `retry`: a task waits until the store is back. `run`: it runs without a record.
        """
        self._store = store
        self._records = records_of(store)
        self._keep = positive("keep", keep)
        self._on_unavailable = OnUnavailable(on_unavailable)
        self._pauses = Pauses()

    async def __aenter__(self) -> Self:
        """Do nothing: the store is opened by its first call."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the store."""
        await self._store.close()

    async def announce(self, task_id: str, type: str) -> None:  # noqa: A002 - the AMQP name
        """Record that a task is queued, for its publisher, before it publishes. A known task stays as it is.

        Raises:
            StoreUnavailableError: It is not recorded, or not in time.
        """
        fields = {"type": type, "state": State.QUEUED.value, "changed_at": _now()}
        await self._records.write(key(task_id), fields, Rule.IF_ABSENT, self._keep)

    async def __call__(self, call: Call, proceed: Proceed) -> object:
        """Run the task and keep its record."""
        if call.context.task_id is None:
            return await proceed()
        record = RunRecord(self._records, key(call.context.task_id), uuid4().hex, self._keep)
        try:
            await record.begin(call.task.type, call.context.attempt)
        except StoreUnavailableError as error:
            if self._on_unavailable is OnUnavailable.RETRY:
                raise Requeue(str(error), delay=self._pauses.next_seconds()) from error
            _log.warning("task runs without a record", type=call.task.type, reason=str(error))
        self._pauses.reset()
        token = running_record.set(record)
        showing = asyncio.create_task(record.show_progress())
        try:
            return await self._run(record, call, proceed)
        finally:
            running_record.reset(token)
            await end(showing)

    async def _run(self, record: RunRecord, call: Call, proceed: Proceed) -> object:
        try:
            result = await proceed()
        except Duplicate:
            raise
        except BaseException as error:
            # A cancelled task may clean up for a short time only.
            tries = 1 if isinstance(error, asyncio.CancelledError) else TRIES
            await self._end(record, tries, _state_after(error, call), error=_text_of(error))
            raise
        await self._end(record, TRIES, State.DONE, checkpoint="", **_kept(result))
        return result

    async def _end(self, record: RunRecord, tries: int, state: State, **fields: str) -> None:
        if reason := await report_end(lambda: record.end(state, **fields), tries):
            _log.error("end of a task not recorded", state=state.value, reason=reason)

    async def dead_lettered(self, delivery: Delivery, problem: Problem) -> None:
        """Record that the message of a task is dead-lettered."""
        if delivery.task_id is None:
            return
        fields = {
            "type": delivery.type,
            "state": State.DEAD.value,
            "attempt": str(delivery.attempt.number),
            "error": one_line(f"{problem.error_class}: {problem.error_text}").replace("\0", ""),
            "changed_at": _now(),
        }
        await self._records.write(key(delivery.task_id), fields, Rule.ALWAYS, self._keep)


def records_of(store: Store) -> Records:
    """Return the records of a store."""
    return PostgresRecords(store) if isinstance(store, PostgresStore) else RedisRecords(store)


def _state_after(error: BaseException, call: Call) -> State:
    is_over = datetime.now(UTC) >= call.context.deadline
    returns = isinstance(error, Requeue) or (isinstance(error, asyncio.CancelledError) and not is_over)
    return State.QUEUED if returns else State.FAILED


def _text_of(error: BaseException) -> str:
    failure = Failure.of(error)
    return one_line(f"{failure.type}: {failure.text}").replace("\0", "")


def _kept(result: object) -> dict[str, str]:
    try:
        return {"result": encoded("The result", result, RESULT_BYTES)}
    except ValueError as error:
        return {"error": one_line(str(error))}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
