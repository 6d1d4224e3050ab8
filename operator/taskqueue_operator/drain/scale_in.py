"""How far replicas can be reduced now, and what blocks a further scale-in."""

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from .context import ALL_REPORTED_WITHIN, DrainContext
from .replicaset_order import guaranteed_removals, missing_costs, obsolete_costs
from .worker import Worker
from .worker_state import WorkerState


class Blocker(StrEnum):
    """What a scale-in is waiting for, in words that end a sentence."""

    NOTHING = ""
    ROLLOUT = "the rollout to finish"
    SETTLING = "the number of pods to match the Deployment"
    REMOVAL = "pods to terminate"
    QUEUE = "the queue to have a leader"
    WORKERS = "workers that can be drained or are known to be idle"
    TASKS = "running tasks to finish"
    ANSWERS = "answers from workers"
    COSTS = "deletion costs to be written"
    REMOVAL_ORDER = "an order in which the ReplicaSet removes no other pod first"
    EMPTINESS = "a reading of an empty queue"
    NOT_LEADER = "another operator, which writes annotation taskqueue.dev/drain of the Deployment"


MOMENTARY: Final = frozenset({Blocker.SETTLING, Blocker.REMOVAL, Blocker.ANSWERS, Blocker.COSTS})
"""Blockers that end within moments and are not reported."""


class ScaleInStep(NamedTuple):
    """What prepares the removal of pods, or removes them.

    Attributes:
        blocked_by: What blocks the removal of more pods.
        replicas: The number of replicas to write; None for none.
        confirm: Workers that have to confirm their drain once more.
        costs: Deletion costs to write, by the UID of the pod; None removes one.
    """

    blocked_by: Blocker
    replicas: int | None = None
    confirm: tuple[Worker, ...] = ()
    costs: Mapping[str, int | None] = {}


def plan_scale_in(context: DrainContext) -> ScaleInStep:
    """Find the lowest number of replicas with which only removable pods are removed; from a settled view alone."""
    if context.scale_in_pending:
        return ScaleInStep(Blocker.REMOVAL)
    ready, pods, replicas = _ready_to_remove(context), context.pods, context.deployment.replicas
    obsolete = obsolete_costs(pods, ready)
    if context.rolling_out:
        return ScaleInStep(Blocker.ROLLOUT, costs=obsolete)
    if not context.is_settled:
        return ScaleInStep(Blocker.SETTLING, costs=obsolete)
    # Also where the order is certain without costs: a container may end and start again before the removal.
    missing = missing_costs(pods, ready) if len(ready) < len(pods) else {}
    if missing and context.lowest_safe_replicas(ready, obsolete | missing) < replicas:
        return ScaleInStep(Blocker.COSTS, costs=obsolete | missing)
    if context.lowest_safe_replicas(ready) >= replicas:
        return ScaleInStep(_blocker(context, ready), costs=obsolete)
    return _by_confirmation(context, ready)._replace(costs=obsolete)


def plan_restore(context: DrainContext) -> int | None:
    """Return the number of replicas to restore while a scale-in is pending; None if none is to be restored.

    Leases may end before the pods terminate. Workers that consume again are then about to be removed.
    """
    pending, deployment = context.pool.pending_scale_in, context.deployment
    if pending is None or pending.generation is None or context.has_several_versions:
        return None
    if deployment.generation != pending.generation + 1:
        return None
    held = {
        worker.uid
        for worker in context.active
        if worker.holds_lease(context.now) or context.state(worker) is WorkerState.LEAVING
    }
    lowest = len(context.active) - guaranteed_removals(context.pods, held)
    return lowest if deployment.replicas < lowest else None


def _ready_to_remove(context: DrainContext) -> set[str]:
    """Find the pods that may be removed as soon as their workers confirm their drain."""
    all_reported = context.now - context.pool.since >= ALL_REPORTED_WITHIN
    without_container = (worker for worker in context.active if worker.has_no_container)
    removable = {worker.uid for worker in without_container if all_reported or not worker.pod.assigned}
    removable |= {worker.uid for worker in context.active if worker.never_consumed(context.now)}
    return removable | {worker.uid for worker in context.candidates if context.ready_to_remove(worker)}


def _by_confirmation(context: DrainContext, ready: Collection[str]) -> ScaleInStep:
    """Let all of them confirm their drain, and remove those that do."""
    workers = [worker for worker in context.active if worker.uid in ready]
    if any(map(context.needs_confirmation, workers)):
        # All of them, or some confirmations would always be too old when the others arrive.
        return ScaleInStep(Blocker.ANSWERS, confirm=tuple(filter(context.can_confirm, workers)))
    if any(map(context.may_answer_soon, context.candidates)):
        return ScaleInStep(Blocker.ANSWERS)
    removable = {worker.uid for worker in workers if worker.is_removable(context.now)}
    replicas = context.lowest_safe_replicas(removable)
    if replicas >= context.deployment.replicas:
        return ScaleInStep(Blocker.ANSWERS)
    return ScaleInStep(Blocker.NOTHING, replicas)


def _blocker(context: DrainContext, ready: Collection[str]) -> Blocker:
    if len(context.active) <= context.desired:
        return Blocker.NOTHING
    if len(ready) == len(context.active):
        return Blocker.EMPTINESS
    if ready:
        return Blocker.REMOVAL_ORDER
    if any(map(context.drain_requested, context.candidates)):
        return Blocker.TASKS
    return Blocker.WORKERS if context.queue.running else Blocker.QUEUE
