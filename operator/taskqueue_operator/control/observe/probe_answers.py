"""What the answers to a batch of probes change, and which TaskQueues are notified of it."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from structlog.typing import FilteringBoundLogger

from taskqueue_operator.control.clock import now
from taskqueue_operator.control.telemetry import Telemetry
from taskqueue_operator.resource.faults import Fault
from taskqueue_operator.resource.names import Key
from taskqueue_operator.scaling.reading import Probe

from .events import ObserverEvents
from .followed_queues import FollowedQueues
from .rounds import refresh_index
from .samples import Samples

REFRESH_PERIOD_SECONDS: Final = 5.0
"""Readings of a queue at zero are evaluated this often although its depth does not change: they age."""
SLICE: Final = 32
"""Queues of a batch whose TaskQueues are decided on in one piece: 0.2 ms each."""


class ProbeAnswers:
    """Stores the answers for the followed queues of one endpoint, and notifies its listener."""

    def __init__(
        self, followed: FollowedQueues, listener: ObserverEvents, telemetry: Telemetry, log: FilteringBoundLogger
    ) -> None:
        self._followed = followed
        self._listener = listener
        self._telemetry = telemetry
        self._log = log

    def is_at_zero(self, samples: Samples) -> bool:
        """Whether no TaskQueue that reads a queue has workers."""
        return all(self._listener.is_scaled_to_zero(key) for key in samples.keys)

    async def store(self, batch: Sequence[str], answers: Mapping[str, Probe], due_at: float) -> None:
        """Store the answers for the queues of a batch, which was due at this time of the loop; in slices."""
        for begin in range(0, len(batch), SLICE):
            if begin:
                await asyncio.sleep(0)
            self._listener.on_readings(self._store(batch[begin : begin + SLICE], answers))
        self._telemetry.delayed(now() - due_at)

    def _store(self, batch: Sequence[str], answers: Mapping[str, Probe]) -> set[Key]:
        """Store the answers.

        Returns:
            The TaskQueues to re-evaluate: all that have workers; those at zero if their depth changed or a refresh is
            due.
        """
        keys: set[Key] = set()
        for queue in batch:
            samples = self._followed.samples(queue)
            if samples is None:
                continue
            changed = queue in answers and self._store_probe(queue, samples, answers[queue])
            index = refresh_index(queue, REFRESH_PERIOD_SECONDS)
            if changed or samples.refresh_index != index or not self.is_at_zero(samples):
                keys |= samples.keys
                samples.refresh_index = index
        return keys

    def _store_probe(self, queue: str, samples: Samples, answer: Probe) -> bool:
        """Store an answer; returns whether it matters to a TaskQueue at zero."""
        before = samples.probe
        if not samples.add_probe(answer):
            return False
        if _fault_message(before) != _fault_message(answer):
            self._notify_queue_fault(queue, samples, answer.fault)
        # Once, not at every probe: a queue whose node is down is listed, and a probe does not find it meanwhile.
        if answer.missing and (before is None or not before.missing):
            for key in samples.keys:
                self._listener.on_queue_missing(key)
        return not answer.missing and (before is None or bool(before.ready) or answer.ready != 0)

    def _notify_queue_fault(self, queue: str, samples: Samples, fault: Fault | None) -> None:
        if fault is not None:
            self._log.warning("queue unreadable", queue=queue, reason=fault.reason, detail=fault.message)
        self._listener.on_broker_health(samples.keys)


def _fault_message(probe: Probe | None) -> str | None:
    return probe.fault.message if probe is not None and probe.fault is not None else None
