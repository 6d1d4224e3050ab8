"""Writes the status when it has changed: conditions as soon as it is their turn, figures periodically."""

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from taskqueue_operator.control.cache import Cache, CachedTaskQueue
from taskqueue_operator.control.clock import Clock, now
from taskqueue_operator.control.ports import Cluster
from taskqueue_operator.control.state import States, TaskQueueState
from taskqueue_operator.control.status_state import FIGURES_PERIOD, PendingEvent, StatusState
from taskqueue_operator.control.telemetry import Telemetry
from taskqueue_operator.resource.names import Key

from .dead_letters import growth, growth_event, starts_to_grow
from .deadlines import Deadlines
from .document import Change, Status, build_status, change
from .inputs import collect
from .transitions import changes_readiness, events, log_transitions
from .waiting_writes import Urgency
from .write_budget import WriteBudget

SOON: Final = timedelta(seconds=10)
"""A change of conditions this soon after a write does not come before those of other TaskQueues."""


class StatusWriter:
    """Writes status, and an Event when readiness changes or the number of replicas was changed.

    What has changed is known, logged and exported as a metric at once; only writes wait for their turn.
    """

    def __init__(  # noqa: PLR0913  its surroundings, once
        self,
        cache: Cache,
        states: States,
        cluster: Cluster,
        telemetry: Telemetry,
        clock: Clock,
        *,
        request_write: Callable[[Key], None],
    ) -> None:
        """`request_write` is called with a TaskQueue whose turn it is; `write` follows."""
        self._cache = cache
        self._states = states
        self._cluster = cluster
        self._telemetry = telemetry
        self._clock = clock
        self._budget = WriteBudget(request_write)

    async def run(self) -> None:
        """Give turns to write until cancelled."""
        await self._budget.run()

    def forget(self, key: Key) -> None:
        """Drop what is remembered of a TaskQueue that no longer exists."""
        self._budget.withdraw(key)

    async def write(self, key: Key) -> float | None:
        """Build the status, and write it if it has changed and it is this TaskQueue's turn.

        Returns:
            Seconds until the status changes by itself; None if it does not.
        """
        seen, state = self._cache.taskqueues.get(key), self._states[key]
        if seen is None or _knows_less(seen, state):
            return None
        deadlines = Deadlines(self._clock())
        status = build_status(seen, state, collect(seen, state, self._cache, deadlines), deadlines)
        self._tell(seen, state, status)
        self._queue_repairs(state)
        what = self._change(seen, state.status, status, deadlines)
        urgency = self._urgency(seen, state.status, what, status, deadlines)
        if urgency is None:
            self._budget.withdraw(key)
        elif self._budget.take(key, urgency):
            await self._write(seen, state, status, what)
            return 0.0 if state.status.events else deadlines.seconds_left
        elif urgency is Urgency.FIGURES:
            state.status.figures_at = deadlines.now + FIGURES_PERIOD  # they wait: no need to build them again
        return deadlines.seconds_left

    def _tell(self, seen: CachedTaskQueue, state: TaskQueueState, status: Status) -> None:
        before = state.status.conditions if state.status.conditions is not None else seen.status.get("conditions", ())
        log_transitions(seen.key, before, status["conditions"])
        state.status.conditions = status["conditions"]

    def _change(self, seen: CachedTaskQueue, state: StatusState, status: Status, deadlines: Deadlines) -> Change:
        before = dict(seen.status)
        return Change.CONDITIONS if starts_to_grow(before, status, state, deadlines.now) else change(before, status)

    def _urgency(
        self, seen: CachedTaskQueue, state: StatusState, what: Change, status: Status, deadlines: Deadlines
    ) -> Urgency | None:
        """Return how urgent the next write is; None if there is none now, and `deadlines` knows about a later one."""
        if what is Change.CONDITIONS:
            if state.written_at is not None and deadlines.now - state.written_at < SOON:
                return Urgency.AGAIN
            return Urgency.READINESS if changes_readiness(dict(seen.status), status) else Urgency.CONDITIONS
        if state.events:
            return Urgency.AGAIN
        if what is Change.NONE:
            return None
        is_due = seen.key in self._budget or state.figures_at is None or deadlines.has_passed(state.figures_at)
        return Urgency.FIGURES if is_due else None

    async def _write(self, seen: CachedTaskQueue, state: TaskQueueState, status: Status, what: Change) -> None:
        """Write the status, or post the next Event of what is written already."""
        if state.status.events and what is not Change.CONDITIONS:
            await self._post_event(seen, state)
        else:
            await self._write_status(seen, state, status)

    async def _write_status(self, seen: CachedTaskQueue, state: TaskQueueState, status: Status) -> None:
        state.status.written_at = self._clock()
        state.status.figures_at = state.status.written_at + FIGURES_PERIOD
        body = await self._cluster.set_status(seen.key, status)
        self._telemetry.wrote("status")
        if body is not None:
            self._cache.update_taskqueue(body)
            self._queue_events(dict(seen.status), status, state)

    def _queue_events(self, before: Status, after: Status, state: TaskQueueState) -> None:
        for event in events(before, after, state.scaling.last_scale):
            state.status.add_event(event, now())
        if starts_to_grow(before, after, state.status, self._clock()):
            state.status.add_event(growth_event(before, after), now())
        if growth(before, after) > 0:
            state.status.dead_letters_grew_at = self._clock()

    def _queue_repairs(self, state: TaskQueueState) -> None:
        repairs = {"Restored": state.reconcile.restoration, "TopologyRepaired": state.reconcile.repair}
        for reason, repair in repairs.items():
            if repair is not None and repair != state.status.told.get(reason):
                state.status.add_event(PendingEvent(reason, repair.message, warning=True), now())
                state.status.told[reason] = repair

    async def _post_event(self, seen: CachedTaskQueue, state: TaskQueueState) -> None:
        event = state.status.events.popleft()
        await self._cluster.event(seen.reference, reason=event.reason, message=event.message, warning=event.warning)
        self._telemetry.wrote("event")


def _knows_less(seen: CachedTaskQueue, state: TaskQueueState) -> bool:
    """Whether the status knows more than this process does yet, after a restart."""
    return state.reconcile.observed_generation is None and seen.status.get("observedGeneration") == seen.generation
