"""How far the number of replicas can be lowered now, and what is missing for more."""

from collections.abc import Collection, Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from .context import ALL_REPORTED_WITHIN, DrainContext
from .replicaset_order import missing_costs, obsolete_costs, sure, with_costs
from .worker import ANSWER, Worker
from .worker_state import WorkerState

ANSWER_GATHER_WINDOW: Final = timedelta(seconds=2)
"""How long those who have answered wait for those who have not, so that they go together."""


class Blocker(StrEnum):
    """What more workers wait for before they go, in words that end a sentence."""

    NOTHING = ""
    ROLLOUT = "the end of the rollout"
    SETTLING = "the pods to be as many as are asked for"
    REMOVAL = "pods that are being removed"
    QUEUE = "the queue to have a leader"
    WORKERS = "workers that may be asked to go, or are known to be idle"
    TASKS = "running tasks to end"
    ANSWERS = "answers of workers"
    COSTS = "deletion costs to be written"
    ORDER = "an order in which no other pod would be removed first"
    EMPTINESS = "the queue to be seen empty"
    ANOTHER = "nothing, since another operator leads"


MOMENTARY: Final = frozenset({Blocker.SETTLING, Blocker.REMOVAL, Blocker.ANSWERS, Blocker.COSTS})
"""What is over in a moment, and nothing to speak of."""


class ScaleInStep(NamedTuple):
    """What is to be done so that fewer pods run.

    Attributes:
        waiting_for: What keeps more of them from going.
        to: The number to write.
        renew: Who is to prove that they are drained still.
        costs: Deletion costs to be written, by the UID of the pod; None clears one.
    """

    waiting_for: Blocker
    to: int | None = None
    renew: tuple[Worker, ...] = ()
    costs: Mapping[str, int | None] = {}


def lower(situation: DrainContext) -> ScaleInStep:
    """Find the lowest number with which only those are removed who may be, from a settled view alone."""
    if situation.removes:
        return ScaleInStep(Blocker.REMOVAL)
    ready, pods = _ready(situation), situation.pods
    stale = obsolete_costs(pods, ready)
    if (unsettled := _unsettled(situation)) is not None:
        return ScaleInStep(unsettled, costs=stale)
    # All who go carry the cost, even where the order is sure without: a container may end and start anew meanwhile.
    missing = missing_costs(pods, ready) if len(ready) < len(pods) else {}
    if missing and situation.target(ready, with_costs(pods, stale | missing)) < situation.deployment.replicas:
        return ScaleInStep(Blocker.COSTS, costs=stale | missing)
    if situation.target(ready) >= situation.deployment.replicas:
        return ScaleInStep(_obstacle(situation, ready), costs=stale)
    return _by_proof(situation, ready)._replace(costs=stale)


def restore(situation: DrainContext) -> int | None:
    """Say where to bring the number back, while fewer are sure to go than pods are still to be removed.

    That is so when leases end before the pods do: then those that would be removed may work again.
    """
    lowering, there, count = situation.crew.lowering, situation.deployment, len(situation.live)
    if lowering is None or lowering.generation is None or situation.rolls:
        return None
    if there.generation != lowering.generation + 1:
        return None
    held = {
        worker.uid
        for worker in situation.live
        if worker.holds_lease(situation.now) or situation.standing(worker) is WorkerState.LEAVING
    }
    least = count - sure(situation.pods, held)
    return least if there.replicas < least else None


def _unsettled(situation: DrainContext) -> Blocker | None:
    there, count = situation.deployment, len(situation.live)
    if situation.moves:
        return Blocker.ROLLOUT
    asked = count if situation.rolls else there.replicas - situation.rejected_pods
    return None if there.observed and there.live == count == asked else Blocker.SETTLING


def _ready(situation: DrainContext) -> set[str]:
    """Find those that may be removed if only they prove it once more."""
    hears = situation.now - situation.crew.since >= ALL_REPORTED_WITHIN
    bare = {worker.uid for worker in situation.live if worker.is_bare and (hears or not worker.pod.assigned)}
    return bare | {each.uid for each in situation.chosen if situation.ready_to_remove(each)}


def _by_proof(situation: DrainContext, ready: Collection[str]) -> ScaleInStep:
    """Renew once more, and lower by those that prove to be drained still."""
    now, going = situation.now, [worker for worker in situation.live if worker.uid in ready]
    if any(_must_prove(situation, worker) for worker in going):
        # All of them, or the proofs of some would always be too old when those of the others come.
        return ScaleInStep(Blocker.ANSWERS, renew=tuple(each for each in going if _can_prove(situation, each)))
    if any(_straggles(situation, worker) for worker in situation.chosen):
        return ScaleInStep(Blocker.ANSWERS)
    target = situation.target({worker.uid for worker in going if worker.is_removable(now)})
    return (
        ScaleInStep(Blocker.NOTHING, to=target)
        if target < situation.deployment.replicas
        else ScaleInStep(Blocker.ANSWERS)
    )


def _can_prove(situation: DrainContext, worker: Worker) -> bool:
    return not worker.is_bare and not worker.awaits_answer(situation.now)


def _must_prove(situation: DrainContext, worker: Worker) -> bool:
    if not _can_prove(situation, worker):
        return False
    return worker.proved_at is None or situation.now - worker.proved_at >= ANSWER - ANSWER_GATHER_WINDOW


def _straggles(situation: DrainContext, worker: Worker) -> bool:
    waited_for = worker.awaits_answer(situation.now)
    return waited_for and worker.sent is not None and situation.now - worker.sent.at < ANSWER_GATHER_WINDOW


def _obstacle(situation: DrainContext, ready: Collection[str]) -> Blocker:
    """Say what keeps those from going that are to."""
    if len(situation.live) <= situation.desired:
        return Blocker.NOTHING
    if len(ready) == len(situation.live):
        return Blocker.EMPTINESS
    if ready:
        return Blocker.ORDER
    if any(situation.goes(worker) for worker in situation.chosen):
        return Blocker.TASKS
    return Blocker.WORKERS if situation.queue.running else Blocker.QUEUE
