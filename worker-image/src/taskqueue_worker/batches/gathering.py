"""One batch: the messages that wait for it, and the call of the handler with their payloads. On the handlers' loop."""

import asyncio
import contextvars
import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

from taskqueue_worker.log import CURRENT_TASK
from taskqueue_worker.tasks import Context

OWN_TIMEOUT_MARGIN_SECONDS: Final = 1.0

_FIRST_OF: Final[dict["asyncio.Task[Any]", "asyncio.Task[Any]"]] = {}
"""For each call, the task of the first message of its batch. Other threads read it."""


class CutError(Exception):
    """The call was cancelled because one task of the batch was, for example by a middleware."""

    def __init__(self) -> None:
        super().__init__("The batch was cancelled together with another of its tasks.")


class ResultError(TypeError):
    """The handler returned something that does not say what becomes of each message."""


def first_of(call: "asyncio.Task[Any] | None") -> "asyncio.Task[Any] | None":
    """Return the task of the first message if a task is the call of a batch; else the same task."""
    return None if call is None else _FIRST_OF.get(call, call)


def call_of(first: "asyncio.Task[Any]") -> "asyncio.Task[Any]":
    """Return the call of the batch whose first message has this task; else the same task."""
    return next((call for call, other in tuple(_FIRST_OF.items()) if other is first), first)


@dataclass(eq=False)
class Member:
    """A message of a batch: what the handler receives, and what becomes of it."""

    payload: object
    context: Context
    task: "asyncio.Task[Any] | None"
    result: object = None
    error: BaseException | None = None
    stack: TracebackType | None = None

    def decide(self, entry: object) -> None:
        """Take what the handler returned for this message."""
        if isinstance(entry, BaseException):
            self.fail(entry)
        elif isinstance(entry, type) and issubclass(entry, BaseException):
            self.fail(
                ResultError(f"The handler of a batch returned the class {entry.__name__}. Return an instance of it.")
            )
        else:
            self.result = entry

    def fail(self, error: BaseException) -> None:
        """Take what the handler raised."""
        self.error, self.stack = error, error.__traceback__

    def outcome(self) -> object:
        """Return the result, or raise the error: each time with the stack of the handler only."""
        if self.error is not None:
            raise self.error.with_traceback(self.stack)
        return self.result


class Gathering:
    """A batch that other messages may join until it begins."""

    def __init__(self, call: Callable[[Sequence[Member]], Awaitable[object]], seconds: float) -> None:
        """`call` runs the handler. Messages join within so many seconds."""
        self._handle = call
        self._seconds = seconds
        self.members: list[Member] = []
        self._call: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()
        self._is_cut = False

    def begin(self) -> None:
        """Call the handler with what has joined."""
        context = contextvars.Context()  # not that of one message, whose status or span it would change
        context.run(CURRENT_TASK.set, self)
        self._call = asyncio.get_running_loop().create_task(self._run(), context=context)
        if (first := self.members[0].task) is not None:
            _FIRST_OF[self._call] = first
            self._call.add_done_callback(_FIRST_OF.pop)

    @property
    def log_fields(self) -> dict[str, object]:
        """What each log line of the call says (`LoggedTask`)."""
        return {"type": self.members[0].context.type, "batch": len(self.members)}

    async def outcome_of(self, member: Member) -> object:
        """Wait for the end of the call; return what it returned for this message, or raise what it raised.

        A cancellation cancels the call, and waits for its end. The tasks of the other messages are then cancelled too,
        since their timeouts began within the same few seconds; what has no timeout of its own fails after that.
        """
        is_cancelled = False
        while not self._ended.is_set():
            try:
                await self._ended.wait()
            except asyncio.CancelledError:
                if self._call is None:
                    self.members.remove(member)
                    raise
                is_cancelled = self._is_cut = True
                self._call.cancel()
        if not (self._is_cut and isinstance(member.error, asyncio.CancelledError)):
            return member.outcome()
        if not is_cancelled:
            await asyncio.sleep(self._seconds + OWN_TIMEOUT_MARGIN_SECONDS)
            raise CutError
        raise asyncio.CancelledError

    async def _run(self) -> None:
        try:
            entries = _entries(await self._handle(self.members), len(self.members))
        except BaseException as error:  # noqa: BLE001 - whatever user code raises
            for member in self.members:
                member.fail(error)
        else:
            for member, entry in zip(self.members, entries, strict=True):
                member.decide(entry)
        self._ended.set()


def _entries(result: object, size: int) -> Sequence[object]:
    """Return what the handler says of each message.

    Raises:
        ResultError: It does not.
    """
    if result is None:
        return [None] * size
    if inspect.iscoroutine(result):
        result.close()
    if not isinstance(result, list | tuple):
        raise ResultError(
            f"The handler of a batch returned {type(result).__name__}. Return None if all tasks are done, or a list "
            "with one entry for each payload: an exception, or anything else for a task that is done."
        )
    if len(result) != size:
        raise ResultError(f"The handler of a batch returned {len(result)} entries for {size} payloads.")
    return result
