"""What becomes of attempts to read a broker: what they took and gave is counted, and lasting failures are faults."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeVar

import structlog

from taskqueue_operator.control.telemetry import Telemetry
from taskqueue_operator.resource.faults import Fault, Reason
from taskqueue_operator.scaling.reading import Doubt, Probe, Sweep


PATIENCE: Final = {"probe": 1, "sweep": 2, "topology": 2, "look": 2}
"""Failures in a row that make a fault of a side. A listing is one request, which may get lost while nothing is wrong;
until the next one readings are in doubt, so that nothing is done meanwhile that would need it."""
RECOVERY_SECONDS: Final = 1.0
"""One portion of queues may fail at every round where others do not: that is one fault, which stays."""

Answer = TypeVar("Answer", Probe, Sweep)


class ReadHealth:
    """Runs what reads, and keeps the fault of each side until it is over.

    Attributes:
        faults: By side, those that stand.
    """

    def __init__(
        self, log: structlog.typing.FilteringBoundLogger, telemetry: Telemetry, changed: Callable[[], None]
    ) -> None:
        self.faults: dict[str, Fault] = {}
        self._log = log
        self._telemetry = telemetry
        self._changed = changed
        self._failures = Counter[str]()
        self._failed_at: dict[str, float] = {}

    async def run(self, side: str, read: Callable[[], Awaitable[None]]) -> None:
        """Read once; never raises anything but the cancellation of the present task."""
        # Failures need no backoff of their own: a period is never hot, and the broker's side paces its reconnects.
        try:
            await read()
            self._recovered(side)
        except Fault as fault:
            self._failed(side, fault)
        except (Exception, asyncio.CancelledError) as error:
            # A reader that dies would leave its queues unread for ever, and libraries raise a CancelledError too
            # where nobody has cancelled.
            if isinstance(error, asyncio.CancelledError) and _cancelled():
                raise
            self._failed(side, Fault(Reason.INTERNAL_ERROR, "The operator failed; its log says why."), bug=error)

    async def ask(
        self, side: str, queues: Sequence[str], question: Callable[[], Awaitable[Mapping[str, Answer]]]
    ) -> Mapping[str, Answer]:
        """Ask for queues, and tell how long it took and what came of it."""
        begun = now()
        try:
            answers = await question()
        except Fault as fault:
            self._telemetry.asked(side, now() - begun, {fault.reason: len(queues)})
            raise
        self._telemetry.asked(side, now() - begun, Counter(_outcome(answers.get(queue)) for queue in queues))
        return answers

    def _failed(self, side: str, fault: Fault, *, bug: BaseException | None = None) -> None:
        self._failures[side] += 1
        self._failed_at[side] = now()
        about = {"side": side, "reason": fault.reason, "detail": fault.message}
        before = self.faults.get(side)
        if before is None and self._failures[side] < PATIENCE[side]:
            self._log.info("broker could not be read once", **about, exc_info=bug)
            return
        self.faults[side] = fault
        if before is None or before.message != fault.message:
            self._log.warning("broker cannot be read", **about, exc_info=bug)
            self._changed()

    def _recovered(self, side: str) -> None:
        self._failures[side] = 0
        if side in self.faults and now() - self._failed_at[side] > RECOVERY_SECONDS:
            del self.faults[side]
            self._log.info("broker can be read again", side=side)
            self._changed()


def _outcome(answer: Probe | Sweep | None) -> str:
    """Say in one word whether there is a figure, or why not."""
    if answer is None:
        return "silent"
    if isinstance(answer, Sweep):
        return "ok" if answer.doubt is None else "missing" if answer.doubt is Doubt.ABSENT else answer.doubt
    return "missing" if answer.missing else answer.fault.reason if answer.fault is not None else "ok"


def _cancelled() -> bool:
    """Whether somebody wants the present task to end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
