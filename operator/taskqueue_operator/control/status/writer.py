"""Writes the status when it has changed: conditions and decisions first, figures periodically with what is left."""

from datetime import datetime

from taskqueue_operator.control.cache import Cache, CachedTaskQueue
from taskqueue_operator.control.clock import Clock
from taskqueue_operator.control.ports import Cluster
from taskqueue_operator.control.state import FIGURES_PERIOD, PendingEvent, States, StatusState, TaskQueueState
from taskqueue_operator.control.telemetry import Telemetry
from taskqueue_operator.resource.names import Key

from .dead_letters import growth, growth_event, starts_to_grow
from .deadlines import Deadlines
from .document import Change, Status, build_status, change
from .inputs import collect
from .transitions import events, log_transitions
from .write_budget import WriteBudget


class StatusWriter:
    """Writes status, and an Event when readiness changes or the number of replicas was changed.

    What has changed is known, logged and exported as a metric at once; only writes wait for their turn.
    """

    def __init__(self, cache: Cache, states: States, cluster: Cluster, telemetry: Telemetry, clock: Clock) -> None:
        self._cache = cache
        self._states = states
        self._cluster = cluster
        self._telemetry = telemetry
        self._clock = clock
        self._budget = WriteBudget()

    async def write(self, key: Key) -> float | None:
        """Build the status, and write it if it has changed and it is this TaskQueue's turn.

        Returns:
            Seconds until the status changes by itself, or until it is this TaskQueue's turn; None for neither.
        """
        seen, state = self._cache.taskqueues.get(key), self._states[key]
        if seen is None or _knows_less(seen, state):
            return None
        deadlines = Deadlines(self._clock())
        status = build_status(seen, state, collect(seen, state, self._cache, deadlines), deadlines)
        self._tell(seen, state, status)
        self._queue_restoration(state)
        what = change(dict(seen.status), status)
        if starts_to_grow(dict(seen.status), status, state.status, deadlines.now):
            what = Change.CONDITIONS
        has_event = bool(state.status.events) and what is not Change.CONDITIONS
        if not has_event and not self._is_due(state.status, what, deadlines):
            return deadlines.seconds_left
        if not self._take_turn(state.status, deadlines):
            return deadlines.seconds_left
        if has_event:
            await self._post_event(seen, state)
        else:
            await self._write(seen, state, status)
        return 0.0 if state.status.events else deadlines.seconds_left

    def _tell(self, seen: CachedTaskQueue, state: TaskQueueState, status: Status) -> None:
        before = state.status.conditions if state.status.conditions is not None else seen.status.get("conditions", ())
        log_transitions(seen.key, before, status["conditions"])
        state.status.conditions = status["conditions"]

    def _is_due(self, state: StatusState, what: Change, deadlines: Deadlines) -> bool:
        """Whether the status is to be written as soon as possible; if only later, `deadlines` remembers when."""
        if what is Change.NONE:
            state.turn = None
            return False
        return what is Change.CONDITIONS or deadlines.has_passed(self._figures_at(state, deadlines.now))

    def _figures_at(self, state: StatusState, now: datetime) -> datetime:
        """Return when figures may be written: they do not line up behind conditions."""
        if state.turn is None and not self._budget.has_spare(now):
            return now + FIGURES_PERIOD
        return state.written_at + FIGURES_PERIOD if state.written_at is not None else now

    def _take_turn(self, state: StatusState, deadlines: Deadlines) -> bool:
        if state.turn is None:
            state.turn = self._budget.reserve(deadlines.now)
        if not deadlines.has_passed(state.turn):
            return False
        state.turn = None
        return True

    async def _write(self, seen: CachedTaskQueue, state: TaskQueueState, status: Status) -> None:
        state.status.written_at = self._clock()
        body = await self._cluster.set_status(seen.key, status)
        self._telemetry.wrote("status")
        if body is not None:
            self._cache.update_taskqueue(body)
            self._queue_events(dict(seen.status), status, state)

    def _queue_events(self, before: Status, after: Status, state: TaskQueueState) -> None:
        state.status.events.extend(events(before, after, state.scaling.last_scale))
        if starts_to_grow(before, after, state.status, self._clock()):
            state.status.events.append(growth_event(before, after))
        if growth(before, after) > 0:
            state.status.dead_letters_grew_at = self._clock()

    def _queue_restoration(self, state: TaskQueueState) -> None:
        restoration = state.reconcile.restoration
        if restoration is not None and restoration != state.status.told_restoration:
            state.status.events.append(PendingEvent("Restored", restoration.message, warning=True))
            state.status.told_restoration = restoration

    async def _post_event(self, seen: CachedTaskQueue, state: TaskQueueState) -> None:
        event = state.status.events.popleft()
        await self._cluster.event(seen.reference, reason=event.reason, message=event.message, warning=event.warning)
        self._telemetry.wrote("event")


def _knows_less(seen: CachedTaskQueue, state: TaskQueueState) -> bool:
    """Whether the status knows more than this process does yet, after a restart."""
    return state.reconcile.observed_generation is None and seen.status.get("observedGeneration") == seen.generation
