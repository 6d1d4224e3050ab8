"""An operator process: the shipped plan and the shipped execution loop, driven in simulated time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random

from taskqueue_operator.drain.actions import RestoreReplicas, ScaleIn, WriteDeletionCost, WriteDrainToken
from taskqueue_operator.drain.context import QueueState
from taskqueue_operator.drain.execution import Request, Send, execute
from taskqueue_operator.drain.plan import Plan, plan
from taskqueue_operator.drain.protocol import Command, Report
from taskqueue_operator.drain.replicaset_order import CANDIDATE_COST
from taskqueue_operator.drain.worker_pool import WorkerPool
from taskqueue_operator.workers.api_objects import Deployment, Pod

from .rules import OperatorTypes, Rule, operator_without
from .simulated_cluster import SimulatedCluster, Write

WRITE_TIMEOUT_SECONDS = 10


def moment(now: int) -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=now)


@dataclass
class OperatorProcess:
    """Leads since `since` until it learns that it does not, which may be late.

    Attributes:
        off: Rules that are switched off.
        send: Sends a command to an address.
        write: Sends a write to the API server.
        awake: Whether it runs; an operator that does not may run again later.
        inbox: Reports to read in the next step.
        backlog: Reports that arrived while it did not run: it acts once before it reads them.
        first_reports: By the incarnation of a worker, when its first report was read.
    """

    epoch: int
    since: int
    random: Random
    off: frozenset[Rule]
    cluster: SimulatedCluster
    send: Callable[[str, Command], None]
    write: Callable[[Write], None]
    leads: bool = True
    awake: bool = True
    inbox: list[tuple[Report, str]] = field(default_factory=list)
    backlog: list[tuple[Report, str]] = field(default_factory=list)
    first_reports: dict[str, int] = field(default_factory=dict)
    types: OperatorTypes = field(init=False)
    pool: WorkerPool = field(init=False)
    deployment: Deployment = field(init=False)
    pods: list[Pod] = field(init=False)
    now: int = field(init=False)
    queue: QueueState = field(init=False)
    _execution: Iterator[tuple[Request, ...]] | None = None
    _gives_up_at: int | None = None

    def __post_init__(self) -> None:
        self.now, self.queue = self.since, QueueState(running=False)
        self.types = operator_without(self.off)
        self.pool = self.types.pool("default", self.epoch, moment(self.since))
        self.deployment, self.pods = self.cluster.deployment, list(self.cluster.pods.values())

    def step(self, now: int, desired: int, queue: QueueState) -> None:
        self.now, self.queue = now, queue
        for report, address in self.inbox:
            self.first_reports.setdefault(report.incarnation, now)
            self.pool.on_report(report, address, moment(now))
        self.inbox, self.backlog = self.backlog, []
        self._watch()
        if self._gives_up_at is not None and now < self._gives_up_at:
            return
        if self._gives_up_at is not None:
            self._end_execution()
        if self._execution is None:
            self._execution = self._scale(desired)
        self._execute(self._execution)

    def _watch(self) -> None:
        """Receive what the watches show; they lag."""
        if self.random.random() < 0.7:
            self.pods = list(self.cluster.pods.values())
        if self.random.random() < 0.7:
            self._on_deployment(self.cluster.deployment)

    def _scale(self, desired: int) -> Iterator[tuple[Request, ...]]:
        """Scale out first, as the scaler does; then execute drain plans."""
        if desired > self.deployment.replicas:
            # It has the same condition as a restore.
            yield (RestoreReplicas(desired, self.deployment.generation),)
        yield from execute(self.pool, lambda: self._plan(desired), lambda: moment(self.now))

    def _plan(self, desired: int) -> Plan:
        self.pool.sync(self.deployment, self.pods, moment(self.now))
        return plan(self.types.context(self.pool, self.deployment, self.queue, desired, moment(self.now)))

    def _execute(self, execution: Iterator[tuple[Request, ...]]) -> None:
        for requests in execution:
            for request in requests:
                self._make(request)
            if self._gives_up_at is not None:
                return  # it resumes with the answer of the API server
        self._execution = None

    def _make(self, request: Request) -> None:
        match request:
            case Send(address, command):
                self.send(address, command)
            case WriteDeletionCost(pod, cost):
                self._write_cost(pod, cost)
            case WriteDrainToken(before, after, generation):
                # Where annotations do not increment the generation, the former annotation stands in for it.
                self._write({"drain_token": after}, generation, before)
            case ScaleIn(replicas, generation, drain_token):
                self._write(
                    {"replicas": replicas},
                    generation if Rule.GENERATION not in self.off else None,
                    drain_token if Rule.ANNOTATION not in self.off else None,
                )
            case RestoreReplicas(replicas, generation):
                self._write({"replicas": replicas}, generation)

    def _write_cost(self, pod: Pod, cost: int | None) -> None:
        """Write it at once; the answer is what the operator knows from now on."""
        assert cost in {None, CANDIDATE_COST}
        self.cluster.patch(pod.uid, cost=cost, cost_is_managed=cost is not None)
        self.pods = [self.cluster.pods.get(pod.uid, known) if known.uid == pod.uid else known for known in self.pods]

    def _write(self, changes: dict[str, object], generation: int | None, drain_token: str | None = None) -> None:
        """Send a write to the API server and wait for its answer."""
        self._gives_up_at = self.now + WRITE_TIMEOUT_SECONDS
        without_container = frozenset(worker.uid for worker in self.pool.active if worker.has_no_container)
        self.write(Write(self.now, generation, drain_token, changes, self._on_answer, self.now, without_container))

    def _on_answer(self, deployment: Deployment | None) -> None:
        """Resume after a write that was applied; after a conflict, read again and begin anew."""
        self._gives_up_at = None
        if deployment is None:
            self._execution = None
        self._on_deployment(deployment or self.cluster.deployment)

    def _end_execution(self) -> None:
        self._execution = self._gives_up_at = None

    def _on_deployment(self, deployment: Deployment) -> None:
        if int(deployment.resource_version) > int(self.deployment.resource_version):
            self.deployment = deployment
