"""Plans how workers are drained, removed and undrained: the next actions of the drain protocol, in order.

A plan is made of what is known now and is executed at once. Whatever comes of it, the next plan begins anew.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from taskqueue_operator.resource.names import Key

from . import report_requests
from .actions import Action, RestoreReplicas, ScaleIn, SendCommand, WriteDeletionCost, WriteDrainToken
from .context import ALL_REPORTED_WITHIN, DrainContext
from .protocol import FencingToken, Verb
from .scale_in import Blocker, ScaleInStep, plan_restore, plan_scale_in
from .worker import Worker
from .worker_state import WorkerState


@dataclass(frozen=True, slots=True)
class Plan:
    """The next actions, and what blocks more of them.

    Attributes:
        actions: Complete and in order.
        plan_again: Whether the actions only prepare others: the next plan follows at once.
        blocked_by: What blocks the removal of more workers.
        unreported_pods: Pods of workers about which nothing is known.
    """

    actions: tuple[Action, ...] = ()
    plan_again: bool = False
    blocked_by: Blocker = Blocker.NOTHING
    unreported_pods: tuple[Key, ...] = ()


def plan(context: DrainContext) -> Plan:
    """Plan the next actions.

    1. The drain annotation, if it has to be another one first. This also settles whether a scale-in without an answer
       was applied. Everything else waits for it.
    2. `undrain` commands: a needed worker returns before any write that may fail.
    3. One of: deletion costs; replicas; `drain` commands and requests for reports.
    """
    if context.another_may_lead:
        return Plan(blocked_by=Blocker.NOT_LEADER)
    step, restored = plan_scale_in(context), plan_restore(context)
    drains, renewals, undrains = _drains(context), _renewals(context, step), _undrains(context)
    blocked_by, unreported_pods = step.blocked_by, context.unreported_pods
    needs_token = bool(drains or renewals or undrains or step.costs or step.replicas is not None)
    token_update = _token_update(context, drains, needs_token=needs_token)
    if token_update is not None:
        return Plan((token_update,), plan_again=True, blocked_by=blocked_by, unreported_pods=unreported_pods)
    actions: tuple[Action, ...]
    if step.costs:
        actions = _cost_writes(context, step.costs)
    elif restored is not None:
        actions = (RestoreReplicas(restored, context.deployment.generation),)
    elif step.replicas is not None:
        actions = (ScaleIn(step.replicas, context.deployment.generation, context.deployment.drain_token),)
    else:
        actions = (
            *_commands(Verb.DRAIN, renewals),
            *_commands(Verb.DRAIN, _ignoring_sigterm(context)),
            *_drains_or_report_requests(context, drains),
        )
    return Plan((*_commands(Verb.UNDRAIN, undrains), *actions), bool(step.costs), blocked_by, unreported_pods)


def _commands(verb: Verb, workers: Iterable[Worker]) -> tuple[SendCommand, ...]:
    return tuple(SendCommand(worker, verb) for worker in workers)


def _cost_writes(context: DrainContext, costs: Mapping[str, int | None]) -> tuple[WriteDeletionCost, ...]:
    pods = {pod.uid: pod for pod in context.pods}
    return tuple(WriteDeletionCost(pods[uid], cost) for uid, cost in costs.items())


def _drains(context: DrainContext) -> tuple[Worker, ...]:
    """Return the candidates to drain. None without a leader of the queue: a cancel would not be certain."""
    if not context.queue.running:
        return ()
    new = (worker for worker in context.candidates if not context.drain_requested(worker))
    return tuple(filter(context.may_be_drained, new))


def _renewals(context: DrainContext, step: ScaleInStep) -> tuple[Worker, ...]:
    """Return the workers whose lease is to be renewed, and those that have to confirm their drain: one command."""
    due = (*filter(context.needs_renewal, context.candidates), *step.confirm)
    return tuple({worker.uid: worker for worker in due}.values())


def _undrains(context: DrainContext) -> tuple[Worker, ...]:
    """Return the workers to undrain: none while pods are being removed, which might be theirs."""
    if context.scale_in_pending:
        return ()
    candidates = {worker.uid for worker in context.candidates}
    others = (worker for worker in context.active if worker.uid not in candidates)
    return tuple(worker for worker in others if _is_to_be_undrained(context, worker))


def _is_to_be_undrained(context: DrainContext, worker: Worker) -> bool:
    if context.state(worker) in {WorkerState.LEAVING, WorkerState.SILENT}:
        return False
    drained = worker.possibly_drained(context.pool.installation, context.now)
    return drained and context.may_be_sent(worker, Verb.UNDRAIN)


def _ignoring_sigterm(context: DrainContext) -> tuple[Worker, ...]:
    """Return the workers that terminate without knowing it: they take no new message until they are killed."""
    if not context.queue.running:
        return ()
    return tuple(worker for worker in context.pool.ignoring_sigterm(context.now) if worker.may_resend(context.now))


def _drains_or_report_requests(context: DrainContext, drains: tuple[Worker, ...]) -> tuple[SendCommand, ...]:
    """Request reports before workers are drained: regular reports are too rare to know which ones are idle."""
    consuming = [worker for worker in context.active if context.state(worker) is WorkerState.CONSUMING]
    if drains and any(report_requests.is_outdated(worker, context.now) for worker in consuming):
        return _commands(
            Verb.REPORT, (worker for worker in consuming if report_requests.needs_request(worker, context.now))
        )
    return _commands(Verb.DRAIN, (worker for worker in drains if not report_requests.is_late(worker, context.now)))


def _token_update(context: DrainContext, drains: Iterable[Worker], *, needs_token: bool) -> WriteDrainToken | None:
    """Return the annotation that the Deployment needs before anything else may be done."""
    pool, deployment = context.pool, context.deployment
    before = deployment.drain_token
    token = FencingToken.parse(before)
    update = WriteDrainToken(before, str(FencingToken(pool.epoch, pool.seq + 1)), deployment.generation)
    is_ours = pool.has_written(token)
    if (before and not is_ours) or pool.scale_in_may_still_apply(deployment):
        # The scale-in either has been applied, or no longer can be.
        return update
    if needs_token:
        reordered = any(worker.undrain_seq >= pool.seq for worker in drains)
        return update if reordered or not is_ours else None
    return update._replace(after="") if before and not _token_is_in_use(context) else None


def _token_is_in_use(context: DrainContext) -> bool:
    """Whether a worker is, or may be, drained, or a scale-in is pending or about to follow.

    A new leader has not received all reports yet. And since a write of the annotation increments the generation, it
    unsettles the view: removed before the view is settled, the annotation would be written and removed without end.
    """
    pool, now = context.pool, context.now
    if context.scale_in_pending or now - pool.since < ALL_REPORTED_WITHIN or len(context.active) > context.desired:
        return True
    return any(worker.possibly_drained(pool.installation, now) for worker in context.active)
