"""What a deletion waits for: the messages for the status, with the way out."""

from collections.abc import Iterable, Sequence
from typing import Final

from taskqueue_operator.resource.faults import Fault, Reason
from taskqueue_operator.resource.names import PARKING
from taskqueue_operator.resource.scaling import Mode
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.scaling.reading import Reading
from taskqueue_operator.topology.diff import Step
from taskqueue_operator.topology.objects import Queue
from taskqueue_operator.workers.referenced import NOT_SCALED

_KEEP_OR_DELETE: Final = "set deletionPolicy: Retain to keep it or Delete to delete it"


def why_not_empty(taskqueue: TaskQueue, queue: str, reading: Reading) -> str:
    """Return why a queue does not count as empty."""
    if reading.at_most is None:
        return f'Deletion waits until it is certain that queue "{queue}" is empty. Publishers are refused meanwhile.'
    states = {"ready": reading.at_most, "unacked": reading.unacked, "delayed or dead-lettering": reading.deferred}
    held = " and ".join(f"{count} {state}" for state, count in states.items() if count)
    way_out = f"To end the wait, {_KEEP_OR_DELETE}" if taskqueue.is_being_emptied else f"Empty it, or {_KEEP_OR_DELETE}"
    return (
        f'Deletion waits: queue "{queue}" holds {held} messages. Publishers are refused, {_workers(taskqueue)}. '
        f"{way_out}."
    )


def why_waiting_for_retries(taskqueue: TaskQueue, delayed: int | None) -> str:
    """Return why the retries of a queue keep it; `delayed` is their number at most, None if it is unknown."""
    count = f"at most {delayed}" if delayed else "an unknown number of"
    return (
        f'Deletion waits: {count} messages of queue "{taskqueue.queue_name}" wait for their retry. Publishers are '
        f"refused, {_workers(taskqueue)}. Set deletionPolicy: Retain to keep the queue or Delete to delete it; the "
        f'retries then go to queue "{PARKING}".'
    )


def why_interim_not_empty(taskqueue: TaskQueue, interim: str) -> str:
    """Return why the interim queue of an aborted migration keeps a deletion from going on."""
    return (
        f'Deletion waits until it is certain that queue "{interim}" is empty, in which messages arrived during the '
        f"migration. Meanwhile {_workers(taskqueue).removeprefix('and ')}. To end the wait, {_KEEP_OR_DELETE}."
    )


def with_obstacle(wait: Fault, of_workers: Iterable[Fault]) -> Fault:
    """Return a wait for workers that empty a queue; it also says what keeps their number from changing, if anything."""
    obstacle = next((fault for fault in of_workers if fault.reason in NOT_SCALED), None)
    if obstacle is None or wait.reason is not Reason.NOT_EMPTY:
        return wait
    return Fault(wait.reason, f"{wait.message} But the number of workers does not change: {obstacle.message}")


def why_migration_goes_on(taskqueue: TaskQueue) -> str:
    """Return why a migration is not aborted yet."""
    return f'Deletion waits: the migration of queue "{taskqueue.queue_name}" is being aborted.'


def why_left(steps: Sequence[Step]) -> str:
    """Return why objects are left after a removal; the steps are those that would remove them."""
    created = [step.item.name for step in steps if isinstance(step.item, Queue)]
    if created:
        return f'Deletion waits: another client creates queue "{created[0]}" again. Find and stop it.'
    return "Deletion waits for the next attempt, a few seconds from now: some exchanges were still in use."


def _workers(taskqueue: TaskQueue) -> str:
    """Return what the workers do meanwhile."""
    mode = taskqueue.spec.scaling.mode
    if mode is not Mode.AUTO:
        return f"and the number of workers does not change, because spec.scaling.mode is {mode}: set Auto"
    return "workers empty it" if taskqueue.is_being_emptied else "workers continue"
