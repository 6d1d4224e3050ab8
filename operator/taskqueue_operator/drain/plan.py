"""What to do next so that workers go, or come back, and none of them is ever cut: one step of the drain protocol.

A plan is made of what is known now and is carried out at once; whatever comes of it, the next one begins anew.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from taskqueue_operator.resource.names import Key

from .context import ALL_REPORTED_WITHIN, DrainContext
from .protocol import FencingToken, Verb
from .scale_in import Blocker, lower, restore
from .worker import Worker
from .worker_state import WorkerState


class Remark(NamedTuple):
    """The drain annotation of the Deployment is to change; the write is conditional on what it was. "" is for none."""

    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Plan:
    """One step.

    Attributes:
        remark: Write the annotation, then plan again: nothing else is asked for. This is also the way to find out
            about a lower number whose writing was not answered.
        drain: Workers to be asked to go: command `drain`.
        renew: Workers whose lease is to begin anew, or that are to prove it: the same command.
        undrain: Workers to be asked back: command `undrain`.
        part: Workers whose pods go without them knowing: `drain`, so that they take nothing more until they are killed.
        costs: Deletion costs to be written, by the UID of the pod; None clears one.
        lower_to: The number of replicas to write, on the condition of generation and annotation.
        restore_to: The same, on that of the generation: workers that were to be removed may work again.
        waiting_for: What keeps more workers from going.
        silent: Pods of workers that do not report.
    """

    remark: Remark | None = None
    drain: tuple[Worker, ...] = ()
    renew: tuple[Worker, ...] = ()
    undrain: tuple[Worker, ...] = ()
    part: tuple[Worker, ...] = ()
    costs: Mapping[str, int | None] = field(default_factory=dict)
    lower_to: int | None = None
    restore_to: int | None = None
    waiting_for: Blocker = Blocker.NOTHING
    silent: tuple[Key, ...] = ()


def plan(situation: DrainContext) -> Plan:
    """Plan the next step; while a write of the last one is still waited for, there is none."""
    mark = FencingToken.parse(situation.deployment.mark)
    if mark is not None and mark.epoch > situation.crew.epoch:
        return Plan(waiting_for=Blocker.ANOTHER)
    step = _step(situation)
    remark = _remark(situation, step)
    if remark is not None:
        step = Plan(remark=remark, waiting_for=step.waiting_for)
    return replace(
        step,
        part=_to_part(situation),
        silent=situation.silent,
    )


def _step(situation: DrainContext) -> Plan:
    lowering, again = lower(situation), _to_renew(situation)
    return Plan(
        drain=_to_drain(situation),
        renew=tuple({worker.uid: worker for worker in (*again, *lowering.renew)}.values()),
        undrain=() if situation.removes else _to_undrain(situation),
        costs=lowering.costs,
        lower_to=lowering.to,
        restore_to=restore(situation),
        waiting_for=lowering.waiting_for,
    )


def _to_drain(situation: DrainContext) -> tuple[Worker, ...]:
    if not situation.queue.running:
        return ()
    fresh = (worker for worker in situation.chosen if not situation.goes(worker))
    return tuple(worker for worker in fresh if _can_be_told(situation, worker))


def _to_renew(situation: DrainContext) -> tuple[Worker, ...]:
    """Without a leader only those keep their lease that stopped consuming while there was one."""
    going = (worker for worker in situation.chosen if situation.goes(worker) and _can_be_told(situation, worker))
    running, installation = situation.queue.running, situation.crew.installation
    return tuple(worker for worker in going if running or worker.reports_drained_by(installation))


def _to_undrain(situation: DrainContext) -> tuple[Worker, ...]:
    chosen = {worker.uid for worker in situation.chosen}
    return tuple(each for each in situation.live if each.uid not in chosen and _is_to_return(situation, each))


def _to_part(situation: DrainContext) -> tuple[Worker, ...]:
    if not situation.queue.running:
        return ()
    return tuple(worker for worker in situation.crew.deaf(situation.now) if worker.due(situation.now))


def _is_to_return(situation: DrainContext, worker: Worker) -> bool:
    if situation.standing(worker) in {WorkerState.LEAVING, WorkerState.SILENT}:
        return False
    if not worker.possibly_drained(situation.crew.installation, situation.now):
        return False
    return _may_be_told(situation, worker, Verb.UNDRAIN)


def _can_be_told(situation: DrainContext, worker: Worker) -> bool:
    deaf = situation.standing(worker) in {WorkerState.NO_CONTAINER, WorkerState.LEAVING, WorkerState.SILENT}
    return not deaf and worker.report is not None and _may_be_told(situation, worker, Verb.DRAIN)


def _may_be_told(situation: DrainContext, worker: Worker, verb: Verb) -> bool:
    """Whether the time has come: at once for the contrary of what it was told last, unless it has refused that."""
    turns = worker.sent is not None and worker.sent.command.command is not verb
    return worker.due(situation.now) or (turns and not worker.refuses(situation.now))


def _remark(situation: DrainContext, step: Plan) -> Remark | None:
    """Say what has to stand on the Deployment before that step may be taken."""
    crew, before = situation.crew, situation.deployment.mark
    mark, following = FencingToken.parse(before), Remark(before, str(FencingToken(crew.epoch, crew.seq + 1)))
    ours = mark is not None and mark.epoch == crew.epoch
    if (before and not ours) or crew.scale_in_may_still_apply(situation.deployment):
        # Now it is either seen to have happened or kept from happening.
        return following
    if step.drain or step.renew or step.undrain or step.costs or step.lower_to is not None:
        reordered = any(worker.undrained_by >= crew.seq for worker in step.drain)
        return following if reordered or not ours else None
    return Remark(before, "") if before and not _is_needed(situation) else None


def _is_needed(situation: DrainContext) -> bool:
    """Whether somebody is drained, or a lower number is on its way; who has just begun to lead has not heard it yet.

    To write it unsettles the view, since annotations move the generation: taken back before the view is settled, it
    would come and go for ever.
    """
    crew, now = situation.crew, situation.now
    if crew.lowering is not None or now - crew.since < ALL_REPORTED_WITHIN or len(situation.live) > situation.desired:
        return True
    return any(each.possibly_drained(crew.installation, now) for each in situation.live)
