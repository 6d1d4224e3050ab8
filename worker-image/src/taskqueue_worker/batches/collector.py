"""Collects the messages of one task type into batches. On the loop of the handlers."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from taskqueue_worker.bounds import LARGEST_BATCH
from taskqueue_worker.tasks import Context
from taskqueue_worker.thread_pool import ThreadPool

from .batch import Batch
from .gathering import Gathering, Member


class Collector:
    """What runs each message in place of the handler, which then runs once for all messages of a batch.

    To everything else each message is a task with a slot, a timeout and an end of its own.
    """

    def __init__(self, function: Callable[..., Any], batch: Batch, *, wants_context: bool, is_coroutine: bool) -> None:
        """`function` takes a list of payloads, and a list of contexts if it wants them."""
        self._function = function
        self.batch = batch
        self._wants_context = wants_context
        self._is_coroutine = is_coroutine
        self._threads: ThreadPool | None = None
        self._gathering: Gathering | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._may_wait = True

    async def __call__(self, payload: object, context: Context) -> object:
        """Join a batch, and return what its handler returns for this message."""
        gathering = self._gathering or self._open()
        member = Member(payload, context, asyncio.current_task())
        gathering.members.append(member)
        if len(gathering.members) >= self.batch.size or not self._may_wait:
            self._begin()
        return await gathering.outcome_of(member)

    def let_wait(self, may_wait: bool) -> None:  # noqa: FBT001 - posted to the loop with its value
        """Whether a batch may wait for further messages; if not, what has joined runs now."""
        self._may_wait = may_wait
        if not may_wait:
            self._begin()

    def _open(self) -> Gathering:
        self._gathering = Gathering(self._call, self.batch.seconds)
        self._timer = asyncio.get_running_loop().call_later(self.batch.seconds, self._begin)
        return self._gathering

    def _begin(self) -> None:
        gathering, self._gathering = self._gathering, None
        if self._timer is not None:
            self._timer.cancel()
        if gathering is not None and gathering.members:
            gathering.begin()

    async def _call(self, members: Sequence[Member]) -> object:
        payloads, contexts = [member.payload for member in members], [member.context for member in members]
        arguments = (payloads, contexts) if self._wants_context else (payloads,)
        if self._is_coroutine:
            return await self._function(*arguments)
        if self._threads is None:
            self._threads = ThreadPool(LARGEST_BATCH)  # it starts a thread when none is idle: one for each batch
        return await self._threads.proceed(_ThreadCall(self._function, arguments))


@dataclass(frozen=True, slots=True)
class _ThreadCall:
    function: Callable[..., Any]
    arguments: tuple[object, ...]

    def call_in_thread(self) -> object:
        return self.function(*self.arguments)
