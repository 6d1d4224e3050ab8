"""What was written to the status of one TaskQueue, and what is to be written. Written by status/writer."""

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from taskqueue_operator.resource import bounds
from taskqueue_operator.resource.allowance import Allowance

from .reconcile_state import Repair, Restoration

FIGURES_PERIOD: Final = timedelta(seconds=30)
"""Time between two status writes that change figures only."""


def _events() -> Allowance:
    return Allowance(per_second=bounds.TASKQUEUE_EVENTS_PER_SECOND, at_once=bounds.TASKQUEUE_EVENTS_AT_ONCE)


class PendingEvent(NamedTuple):
    """An Event that is to be posted."""

    reason: str
    message: str
    warning: bool


@dataclass(slots=True)
class StatusState:
    """The status subresource.

    Attributes:
        written_at: When the status was last written.
        conditions: The conditions as last known, written or not; None before they are known.
        figures_at: When a change of figures alone is next worth a write; None: now.
        events: Events to post after the status; the oldest is dropped if too many wait.
        event_allowance: How many Events may be posted.
        told: The last restoration and the last repair for which an Event was made, by the reason of the Event.
        dead_letters_grew_at: When the status last showed more dead letters than before.
        not_consuming_since: Since when messages wait and no worker consumes.
    """

    written_at: datetime | None = None
    conditions: list[dict[str, Any]] | None = None
    figures_at: datetime | None = None
    events: deque[PendingEvent] = field(default_factory=lambda: deque(maxlen=bounds.PENDING_EVENTS))
    event_allowance: Allowance = field(default_factory=_events)
    told: dict[str, Restoration | Repair] = field(default_factory=dict)
    dead_letters_grew_at: datetime | None = None
    not_consuming_since: datetime | None = None

    def add_event(self, event: PendingEvent, now: float) -> None:
        """Post an Event after the status, unless there were too many lately: the conditions tell of it anyway."""
        if self.event_allowance.take(now):
            self.events.append(event)

    def figures_delay(self, now: datetime) -> float:
        """Return the seconds until a change of figures alone may be written."""
        return 0.0 if self.figures_at is None else max(0.0, (self.figures_at - now).total_seconds())
