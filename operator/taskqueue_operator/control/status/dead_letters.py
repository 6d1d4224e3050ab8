"""When dead letters start to grow: an Event tells of it once, not with each message."""

from datetime import datetime, timedelta
from typing import Any, Final

from taskqueue_operator.control.status_state import PendingEvent, StatusState
from taskqueue_operator.resource.faults import Reason
from taskqueue_operator.resource.names import dead_letter_queue

QUIET_TIME: Final = timedelta(minutes=10)
"""Dead letters that come after so long without any are told of again."""


def growth(before: dict[str, Any], after: dict[str, Any]) -> int:
    """Return by how many messages the dead-letter queue has grown since the status was written."""
    return int(after.get("deadLetters", 0)) - int(before.get("deadLetters", 0))


def starts_to_grow(before: dict[str, Any], after: dict[str, Any], state: StatusState, now: datetime) -> bool:
    """Whether there are more dead letters than written, after a while without new ones."""
    grew_at = state.dead_letters_grew_at
    return growth(before, after) > 0 and (grew_at is None or now - grew_at >= QUIET_TIME)


def growth_event(before: dict[str, Any], after: dict[str, Any]) -> PendingEvent:
    """Return the Event for a dead-letter queue that starts to grow."""
    queue = dead_letter_queue(after["queue"])
    message = (
        f'{growth(before, after)} tasks could not be done: queue "{queue}" holds {after["deadLetters"]}. The headers '
        "of each message say why, and the log of the workers has the errors."
    )
    return PendingEvent(Reason.DEAD_LETTERS_GROWING, message, warning=True)
