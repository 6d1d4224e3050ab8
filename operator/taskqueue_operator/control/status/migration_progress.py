"""The progress of a migration, for the condition TopologyReady."""

import re
from typing import Final

from taskqueue_operator.control.state import TaskQueueState
from taskqueue_operator.topology.migration import Migration, Stage

_STAGES: Final = {
    Stage.DECLARING: 'queue "{receiving}" is being declared',
    Stage.ROLLING_OUT: 'publishers go to queue "{receiving}" as soon as all workers consume it too',
    Stage.SWITCHING: 'publishers are being led to queue "{receiving}"',
    Stage.EMPTYING: 'publishers go to queue "{receiving}"; workers empty queue "{leaving}", which {held}',
    Stage.ROLLING_BACK: 'queue "{leaving}" is empty, and is deleted as soon as no worker consumes it',
    Stage.DELETING: 'queue "{leaving}" is being deleted',
}


def migration_progress(state: TaskQueueState) -> str:
    """Return what the migration does now; empty without one."""
    found = state.reconcile.migration
    if found is None:
        return ""
    stage = _STAGES[found.stage].format(receiving=found.receiving, leaving=found.leaving, held=_held(found, state))
    return f"The queue is being replaced while publishers and workers continue: {stage}."


def without_counts(progress: str) -> str:
    """Return the progress without the numbers of messages, which change with every reading."""
    return re.sub(r"\b\d+ (ready|unacked|delayed)", r"\1", progress)


def _held(found: Migration, state: TaskQueueState) -> str:
    """Return what the leaving queue holds, at most."""
    observer = state.connection.observer
    reading = observer.reading(found.leaving) if observer is not None else None
    delayed = observer.delayed(found.leaving) if observer is not None else None
    if reading is None or reading.at_most is None or delayed is None:
        return "holds an unknown number of messages"
    ready, unacked = reading.at_most, reading.unacked or 0
    if not (ready or unacked or delayed or reading.deferred):
        return "is empty, and is deleted when that is certain"
    return f"holds {ready} ready, {unacked} unacked and {delayed + reading.deferred} delayed messages"
