"""Brings one TaskQueue to what its spec asks: reads the actual state, builds the desired state, writes the difference.

Every outcome is recorded in the ReconcileState, from which the status is built. A fault of one TaskQueue never delays
another: every call has a timeout, and a failed reconcile is retried by the work queue.
"""

from dataclasses import dataclass
from typing import Final

from taskqueue_operator.control.cache import Cache
from taskqueue_operator.control.reconcile_state import ReconcileState
from taskqueue_operator.control.state import States
from taskqueue_operator.control.telemetry import Telemetry
from taskqueue_operator.control.workqueue import RetryLater
from taskqueue_operator.resource.conditions import ConditionType
from taskqueue_operator.resource.faults import BrokerFault, Conflict, Fault, Reason
from taskqueue_operator.resource.names import Key
from taskqueue_operator.resource.taskqueue import TaskQueue

from .deletion_waits import with_obstacle
from .finalizer import Finalizer
from .stages import Stages

DELETION_RETRY_SECONDS: Final = 5.0
"""Delay before a blocked deletion is tried again, unless an event triggers it earlier."""
MIGRATION_PERIOD_SECONDS: Final = 5.0
"""Delay before a migration is continued: no event shows that a queue is empty for long enough."""
FAILED: Final = Fault(Reason.INTERNAL_ERROR, "The operator failed on this TaskQueue and tries again; its log says why.")


@dataclass(frozen=True, slots=True)
class Reconciler:
    """Runs the stages of a TaskQueue, or its finalizer, and records the outcome."""

    cache: Cache
    states: States
    stages: Stages
    finalizer: Finalizer
    telemetry: Telemetry

    async def reconcile(self, key: Key) -> float | None:
        """Reconcile one TaskQueue.

        Returns:
            Seconds after which a blocked deletion is to be tried again, or a migration is to be continued; None when
            nothing is left to do.

        Raises:
            RetryLater: A fault is in the way; it is recorded.
            Conflict: An object has changed since it was read.
        """
        seen, state = self.cache.taskqueues.get(key), self.states[key].reconcile
        if seen is None:
            return None
        if isinstance(seen.parsed, Fault):
            state.faults, state.observed_generation = {ConditionType.READY: seen.parsed}, seen.generation
            return None
        try:
            if seen.parsed.deleting:
                return await self._delete(seen.parsed, state)
            return await self._run_stages(seen.parsed, state)
        except Fault as fault:
            state.faults = {ConditionType.READY: fault}
            raise RetryLater from None
        except (Conflict, RetryLater):
            raise
        except Exception:
            state.faults = {ConditionType.READY: FAILED}
            raise

    async def _run_stages(self, taskqueue: TaskQueue, state: ReconcileState) -> float | None:
        faults = await self.stages.run(taskqueue)
        state.faults, state.observed_generation = faults, taskqueue.generation
        self.telemetry.reconciled(succeeded=not faults)
        if faults:
            raise RetryLater
        return MIGRATION_PERIOD_SECONDS if state.migration is not None else None

    async def _delete(self, taskqueue: TaskQueue, state: ReconcileState) -> float | None:
        try:
            await self.finalizer.finalize(taskqueue)
        except Fault as fault:
            # Workers of others may have to empty the queue, also after a restart.
            of_workers = {} if taskqueue.owns_deployment else await self.stages.find_workers(taskqueue)
            state.deletion_blocker = with_obstacle(fault, of_workers.values())
            state.faults = of_workers | (
                {ConditionType.BROKER_REACHABLE: fault} if isinstance(fault, BrokerFault) else {}
            )
            return DELETION_RETRY_SECONDS
        state.deletion_blocker = None
        return None
