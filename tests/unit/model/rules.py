"""The rules of the drain protocol. Each can be switched off, to prove that it is needed.

A rule of the worker, or a condition of a write, is switched off in the simulation. A rule of the operator is switched
off by a subclass that overrides one of its methods; everything else, the loop included, is what ships.
"""

from collections.abc import Collection, Iterable
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from typing_extensions import override

from taskqueue_operator.drain.context import DrainContext
from taskqueue_operator.drain.protocol import Command, Report
from taskqueue_operator.drain.worker import Worker
from taskqueue_operator.drain.worker_pool import WorkerPool
from taskqueue_operator.drain.worker_state import WorkerState
from taskqueue_operator.workers.api_objects import Deployment, Pod


class Rule(StrEnum):
    # Of the worker.
    LEASE = "a drain is a lease"
    ORDER = "a command of a lower epoch or seq is refused"
    CERTAIN = "drained is certain"
    NO_START = "from the moment a drain is received no message starts"
    # Conditions of a scale-in.
    ANNOTATION = "a scale-in is conditional on the annotation"
    GENERATION = "a scale-in is conditional on the generation"
    # Of the operator.
    INCARNATION = "a new incarnation voids what was known of the former"
    CONTRARY = "a contrary report voids a confirmation"
    RENEWAL = "a lease is renewed, and once more before a scale-in"
    REPORT_TIMEOUT = "silence proves nothing"
    REMOVAL_ORDER = "the order in which the ReplicaSet removes pods is simulated"
    SETTLED = "replicas are reduced from a settled view"
    RAISED_SEQ = "seq is raised after a scale-in without an answer"
    REDRAIN_SEQ = "seq is raised before a drain that follows an undrain"
    REMOVALS_FIRST = "no worker is undrained while pods are being removed"
    OVERDUE = "a worker that runs only tasks beyond their timeout is removable"
    EMPTINESS = "zero follows an empty queue seen after the last worker was drained"


class OperatorTypes(NamedTuple):
    """The classes that an operator is made of."""

    context: type[DrainContext] = DrainContext
    pool: type[WorkerPool] = WorkerPool


def operator_without(rules: Iterable[Rule]) -> OperatorTypes:
    """Return the classes of an operator without this rule; those that ship if it is not one of the operator's."""
    return next((_WITHOUT[rule] for rule in rules if rule in _WITHOUT), OperatorTypes())


class _IncarnationIgnored(Worker):
    @override
    def on_report(self, report: Report, address: str, at: datetime) -> None:
        if self.report is not None and self.report.incarnation != report.incarnation:
            self.report = None
        self._numbers.pop(report.incarnation, None)
        super().on_report(report, address, at)

    @override
    def on_pod(self, pod: Pod, at: datetime) -> None:
        confirmed_at = self.confirmed_at
        super().on_pod(pod, at)
        self.confirmed_at = confirmed_at


class _PoolIgnoringIncarnations(WorkerPool):
    worker_type = _IncarnationIgnored


class _ContradictionIgnored(Worker):
    @override
    def on_report(self, report: Report, address: str, at: datetime) -> None:
        confirmed_at = self.confirmed_at
        super().on_report(report, address, at)
        self.confirmed_at = self.confirmed_at or confirmed_at

    @override
    def on_pod(self, pod: Pod, at: datetime) -> None:
        confirmed_at = self.confirmed_at
        super().on_pod(pod, at)
        self.confirmed_at = confirmed_at

    @override
    def drain_requested(self, installation: str, now: datetime) -> bool:
        return self.confirmed_at is not None or super().drain_requested(installation, now)


class _PoolIgnoringContradictions(WorkerPool):
    worker_type = _ContradictionIgnored


class _ContextIgnoringContradictions(DrainContext):
    @override
    def is_drained(self, worker: Worker) -> bool:
        return worker.confirmed_at is not None or super().is_drained(worker)


class _ConfirmedForever(Worker):
    @override
    def is_removable(self, now: datetime) -> bool:
        return self.has_no_container or self.confirmed_at is not None


class _PoolConfirmedForever(WorkerPool):
    worker_type = _ConfirmedForever


class _ContextWithoutRenewal(DrainContext):
    @override
    def needs_renewal(self, worker: Worker) -> bool:
        return False

    @override
    def needs_confirmation(self, worker: Worker) -> bool:
        return False


class _RemovableWhenSilent(Worker):
    @override
    def is_removable(self, now: datetime) -> bool:
        return self.state(now) is WorkerState.SILENT or super().is_removable(now)


class _PoolRemovingSilentWorkers(WorkerPool):
    worker_type = _RemovableWhenSilent


class _ContextRemovingSilentWorkers(DrainContext):
    @override
    def is_drained(self, worker: Worker) -> bool:
        return self.state(worker) is WorkerState.SILENT or super().is_drained(worker)


class _ContextWithoutOrder(DrainContext):
    @override
    def guaranteed_removals(self, pods: Collection[Pod], removable: Collection[str]) -> int:
        return len(removable) + self.rejected_pods


class _ContextAlwaysSettled(DrainContext):
    @property
    @override
    def is_settled(self) -> bool:
        return True


class _PoolForgettingScaleIns(WorkerPool):
    @override
    def sync(self, deployment: Deployment, pods: Iterable[Pod], at: datetime) -> list[Worker]:
        inactive = super().sync(deployment, pods, at)
        if self.scale_in_may_still_apply(deployment):
            self.pending_scale_in = None
        return inactive


class _UndrainForgotten(Worker):
    @override
    def on_command_sent(self, command: Command, at: datetime) -> None:
        super().on_command_sent(command, at)
        self.undrain_seq = -1


class _PoolForgettingUndrains(WorkerPool):
    worker_type = _UndrainForgotten


class _ContextWithoutPendingScaleIn(DrainContext):
    @property
    @override
    def scale_in_pending(self) -> bool:
        return False


class _AwaitingEveryTask(Worker):
    @property
    @override
    def is_overdue(self) -> bool:
        return False


class _PoolAwaitingEveryTask(WorkerPool):
    worker_type = _AwaitingEveryTask


class _ContextAlwaysEmpty(DrainContext):
    @override
    def is_empty(self) -> bool:
        return True


_WITHOUT = {
    Rule.INCARNATION: OperatorTypes(pool=_PoolIgnoringIncarnations),
    Rule.CONTRARY: OperatorTypes(_ContextIgnoringContradictions, _PoolIgnoringContradictions),
    Rule.RENEWAL: OperatorTypes(_ContextWithoutRenewal, _PoolConfirmedForever),
    Rule.REPORT_TIMEOUT: OperatorTypes(_ContextRemovingSilentWorkers, _PoolRemovingSilentWorkers),
    Rule.REMOVAL_ORDER: OperatorTypes(_ContextWithoutOrder),
    Rule.SETTLED: OperatorTypes(_ContextAlwaysSettled),
    Rule.RAISED_SEQ: OperatorTypes(pool=_PoolForgettingScaleIns),
    Rule.REDRAIN_SEQ: OperatorTypes(pool=_PoolForgettingUndrains),
    Rule.REMOVALS_FIRST: OperatorTypes(_ContextWithoutPendingScaleIn),
    Rule.OVERDUE: OperatorTypes(pool=_PoolAwaitingEveryTask),
    Rule.EMPTINESS: OperatorTypes(_ContextAlwaysEmpty),
}
