"""The health of each source that reads a broker: repeated failures become a fault, and each read is measured."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeVar

import structlog

from taskqueue_operator.cancellation import is_cancelling
from taskqueue_operator.control.clock import now
from taskqueue_operator.control.telemetry import Telemetry
from taskqueue_operator.resource.faults import BrokerFault, Fault, Reason
from taskqueue_operator.scaling.reading import Doubt, Probe, Sweep

FAILURE_THRESHOLD: Final = {"probe": 1, "sweep": 2, "topology": 2, "consumers": 2, "alarms": 2}
"""Failures in a row that make a fault of a source. A listing is a single request, which may get lost while nothing is
wrong. Until the next one succeeds, readings are in doubt, so nothing is done that would need them."""
RECOVERY_SECONDS: Final = 1.0
"""A fault ends with a success this long after the last failure: one batch may fail in every round while others work."""

Answer = TypeVar("Answer", Probe, Sweep)


class ReadHealth:
    """Runs reads and keeps the fault of each source until it has recovered.

    Attributes:
        faults: The present faults, by source.
    """

    def __init__(
        self, log: structlog.typing.FilteringBoundLogger, telemetry: Telemetry, on_change: Callable[[], None]
    ) -> None:
        self.faults: dict[str, Fault] = {}
        self._log = log
        self._telemetry = telemetry
        self._on_change = on_change
        self._failures = Counter[str]()
        self._failed_at: dict[str, float] = {}

    async def run(self, source: str, read: Callable[[], Awaitable[bool]]) -> None:
        """Read once; raises nothing but the cancellation of the present task.

        `read` returns whether the broker answered: a fault does not end because there was nothing to read, or because
        a connection was accepted.
        """
        # Failures need no backoff here: reads are periodic, and the broker's side delays reconnects.
        try:
            if await read():
                self._record_success(source)
        except Fault as fault:
            self._record_failure(source, fault)
        except (Exception, asyncio.CancelledError) as error:
            # A reader that ends would leave its queues unread for ever, and libraries raise CancelledError even when
            # the task was not cancelled.
            if isinstance(error, asyncio.CancelledError) and is_cancelling():
                raise
            failure = Fault(Reason.INTERNAL_ERROR, "The operator failed to read the broker; its log has the error.")
            self._record_failure(source, failure, bug=error)
        if is_cancelling():  # libraries may replace a cancellation by another error, or by an answer
            raise asyncio.CancelledError

    async def measure(
        self, source: str, queues: Sequence[str], read: Callable[[], Awaitable[Mapping[str, Answer]]]
    ) -> Mapping[str, Answer]:
        """Read the queues and record the duration and the outcomes.

        Raises:
            Fault: None of them could be read.
        """
        started_at = now()
        try:
            answers = await read()
        except Fault as fault:
            self._telemetry.queried(source, now() - started_at, {fault.reason: len(queues)})
            raise
        self._telemetry.queried(source, now() - started_at, Counter(_outcome(answers.get(queue)) for queue in queues))
        return answers

    def _record_failure(self, source: str, fault: Fault, *, bug: BaseException | None = None) -> None:
        self._failures[source] += 1
        self._failed_at[source] = now()
        details = {"source": source, "reason": fault.reason, "detail": fault.message}
        if isinstance(fault, BrokerFault) and fault.cause:
            details["cause"] = fault.cause
        before = self.faults.get(source)
        if before is None and self._failures[source] < FAILURE_THRESHOLD[source]:
            self._log.info("broker read failed, retrying", **details, exc_info=bug)
            return
        # The frames of a fault that is kept hold what was received.
        fault.__traceback__ = fault.__context__ = fault.__cause__ = None
        self.faults[source] = fault
        if before is None or before.message != fault.message:
            self._log.warning("broker unreadable", **details, exc_info=bug)
            self._on_change()

    def _record_success(self, source: str) -> None:
        self._failures[source] = 0
        if source in self.faults and now() - self._failed_at[source] > RECOVERY_SECONDS:
            del self.faults[source]
            self._log.info("broker readable again", source=source)
            self._on_change()


def _outcome(answer: Probe | Sweep | None) -> str:
    """Return `ok` if there is a figure, otherwise why there is none."""
    if answer is None:
        return "silent"
    if isinstance(answer, Sweep):
        return "ok" if answer.doubt is None else "missing" if answer.doubt is Doubt.ABSENT else answer.doubt
    return "missing" if answer.missing else answer.fault.reason if answer.fault is not None else "ok"
