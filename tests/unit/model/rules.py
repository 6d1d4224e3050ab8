"""The rules of the protocol that the model can switch off, to see that each of them is needed."""

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from enum import StrEnum
from unittest.mock import patch

from taskqueue_operator.drain import context as situation
from taskqueue_operator.drain import plan as drain_plan
from taskqueue_operator.drain import scale_in as lowering
from taskqueue_operator.drain.context import DrainContext
from taskqueue_operator.drain.plan import Plan, Remark
from taskqueue_operator.drain.protocol import Command, Report
from taskqueue_operator.drain.worker import Worker
from taskqueue_operator.drain.worker_state import WorkerState
from taskqueue_operator.workers.api_objects import Pod


class Rule(StrEnum):
    # Of the worker.
    LEASE = "a drain is a lease"
    ORDER = "a command of a lower epoch or seq is refused"
    CERTAIN = "drained is certain"
    NO_START = "from the moment a drain is read no message starts"
    # Of the API server, by what the operator asks it.
    ANNOTATION = "a lowering is conditional on the annotation"
    GENERATION = "a lowering is conditional on the generation"
    # Of the operator.
    INCARNATION = "a new incarnation voids what was known of the former"
    CONTRARY = "a contrary report voids what was proved"
    RENEWAL = "a lease is renewed, and once more before the number is lowered"
    REPORT_TIMEOUT = "silence proves nothing"
    REMOVAL_ORDER = "the order in which the ReplicaSet removes is simulated"
    SETTLED = "the number is lowered from a settled view"
    RAISED_SEQ = "seq is raised after an unanswered lowering"
    REDRAIN_SEQ = "seq is raised before a drain that follows an undrain"
    REMOVALS_FIRST = "nobody is asked back while pods are being removed"
    EMPTINESS = "zero follows an empty queue seen after the last worker was drained"


@contextmanager
def without(rule: Rule) -> Iterator[None]:
    """Switch off a rule of the operator; those of the worker and of the API server are the model's own."""
    with ExitStack() as stack:
        for target, name, substitute in _SUBSTITUTES.get(rule, ()):
            stack.enter_context(patch.object(target, name, substitute))
        yield


_hear, _show, _tell, _remark = Worker.hear, Worker.show, Worker.tell, drain_plan._remark
_is_drained, _is_proved, _going = DrainContext.is_drained, Worker.is_removable, Worker.going


def _hear_anybody(worker: Worker, report: Report, address: str, at: datetime) -> None:
    if worker.report is not None and worker.report.incarnation != report.incarnation:
        worker.report = None
    worker._numbers.pop(report.incarnation, None)
    _hear(worker, report, address, at)


def _hear_no_contradiction(worker: Worker, report: Report, address: str, at: datetime) -> None:
    proved_at = worker.proved_at
    _hear(worker, report, address, at)
    worker.proved_at = worker.proved_at or proved_at


def _show_no_contradiction(worker: Worker, pod: Pod, at: datetime) -> None:
    proved_at = worker.proved_at
    _show(worker, pod, at)
    worker.proved_at = proved_at


def _was_proved(situation: DrainContext, worker: Worker) -> bool:
    return worker.proved_at is not None or _is_drained(situation, worker)


def _goes_once_proved(worker: Worker, installation: str, now: datetime) -> bool:
    return worker.proved_at is not None or _going(worker, installation, now)


def _was_ever_proved(worker: Worker, _: datetime) -> bool:
    return worker.is_bare or worker.proved_at is not None


def _is_silent_or_drained(situation: DrainContext, worker: Worker) -> bool:
    return situation.standing(worker) is WorkerState.SILENT or _is_drained(situation, worker)


def _is_silent_or_proved(worker: Worker, now: datetime) -> bool:
    return worker.standing(now) is WorkerState.SILENT or _is_proved(worker, now)


def _forget_lowering(situation: DrainContext, step: Plan) -> Remark | None:
    if situation.crew.scale_in_may_still_apply(situation.deployment):
        situation.crew.lowering = None
    return _remark(situation, step)


def _tell_and_forget(worker: Worker, command: Command, at: datetime) -> None:
    _tell(worker, command, at)
    worker.undrained_by = -1


def _count(_: object, removable: Collection[str], *, rejected_pods: int = 0, **__: object) -> int:
    return len(removable) + rejected_pods


_SUBSTITUTES: dict[Rule, tuple[tuple[object, str, object], ...]] = {
    Rule.INCARNATION: ((Worker, "hear", _hear_anybody), (Worker, "show", _show_no_contradiction)),
    Rule.CONTRARY: (
        (Worker, "hear", _hear_no_contradiction),
        (Worker, "show", _show_no_contradiction),
        (Worker, "going", _goes_once_proved),
        (DrainContext, "is_drained", _was_proved),
    ),
    Rule.RENEWAL: (
        (Worker, "is_proved", _was_ever_proved),
        (lowering, "_must_prove", lambda *_: False),
        (drain_plan, "_to_renew", lambda _: ()),
    ),
    Rule.REPORT_TIMEOUT: (
        (DrainContext, "is_drained", _is_silent_or_drained),
        (Worker, "is_proved", _is_silent_or_proved),
    ),
    Rule.REMOVAL_ORDER: ((situation, "sure", _count), (lowering, "sure", _count)),
    Rule.SETTLED: ((lowering, "_unsettled", lambda _: None),),
    Rule.RAISED_SEQ: ((drain_plan, "_remark", _forget_lowering),),
    Rule.REDRAIN_SEQ: ((Worker, "tell", _tell_and_forget),),
    Rule.REMOVALS_FIRST: ((DrainContext, "removes", property(lambda _: False)),),
    Rule.EMPTINESS: ((DrainContext, "is_empty", lambda _: True),),
}
