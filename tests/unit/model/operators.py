"""An operator around the real plan: what `control` does, without its asyncio."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random

from taskqueue_operator.drain.context import DrainContext, QueueState
from taskqueue_operator.drain.plan import Plan, plan
from taskqueue_operator.drain.protocol import Command, Report, Verb
from taskqueue_operator.drain.replicaset_order import COST
from taskqueue_operator.drain.worker import Worker
from taskqueue_operator.drain.worker_pool import WorkerPool
from taskqueue_operator.workers.api_objects import Deployment, Pod

from .cluster import Cluster, Write

GIVES_UP = 10
"""In seconds: how long an operator waits for the API server."""


def moment(now: int) -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=now)


@dataclass
class Operator:
    """Leads from `since` on until it is told otherwise, which may be late. `tell` and `write` carry what it does."""

    epoch: int
    since: int
    random: Random
    cluster: Cluster
    tell: Callable[[str, Command], None]
    write: Callable[[Write], None]
    crew: WorkerPool = field(init=False)
    leads: bool = True
    awake: bool = True
    deployment: Deployment = field(init=False)
    pods: list[Pod] = field(init=False)
    inbox: list[tuple[Report, str]] = field(default_factory=list)
    pile: list[tuple[Report, str]] = field(default_factory=list)
    heard: dict[str, int] = field(default_factory=dict)
    awaits: int | None = None

    def __post_init__(self) -> None:
        self.crew = WorkerPool("default", self.epoch, moment(self.since))
        self.deployment, self.pods = self.cluster.deployment, list(self.cluster.pods.values())

    def look(self) -> None:
        """Be shown by the watches what there is; they lag."""
        if self.random.random() < 0.7:
            self.pods = list(self.cluster.pods.values())
        if self.random.random() < 0.7:
            self._see(self.cluster.deployment)

    def step(self, now: int, desired: int, queue: QueueState) -> Plan | None:
        for report, address in self.inbox:
            self.heard.setdefault(report.incarnation, now)
            self.crew.see(report, address, moment(now))
        # What has piled up while it was stopped it reads when it has acted once.
        self.inbox, self.pile = self.pile, []
        self.look()
        if self.awaits is not None and now < self.awaits:
            return None
        self.awaits = None
        self.crew.observe(self.deployment, self.pods, moment(now))
        if desired > self.deployment.replicas:
            self._write(now, {"replicas": desired}, generation=self.deployment.generation)
        made = plan(DrainContext(self.crew, self.deployment, queue, desired, moment(now)))
        self._carry_out(made, now)
        return made

    def _carry_out(self, made: Plan, now: int) -> None:
        for uid, cost in made.costs.items():
            assert cost in {None, COST}
            self.cluster.patch(uid, cost=cost, cost_is_managed=cost is not None)
            # The answer is what the operator knows from now on.
            self.pods = [self.cluster.pods.get(uid, pod) if pod.uid == uid else pod for pod in self.pods]
        if made.remark is not None:
            self._write(now, {"mark": made.remark.after}, mark=made.remark.before)
            return
        for worker in (*made.drain, *made.renew):
            self._tell(worker, Verb.DRAIN, now)
        for worker in made.undrain:
            self._tell(worker, Verb.UNDRAIN, now)
        number = made.lower_to if made.lower_to is not None else made.restore_to
        if number is not None:
            if made.lower_to is not None:
                self.crew.begin_scale_in(self.deployment, moment(now))
            mark = self.deployment.mark if made.lower_to is not None else None
            self._write(now, {"replicas": number}, generation=self.deployment.generation, mark=mark)

    def _tell(self, worker: Worker, verb: Verb, now: int) -> None:
        self.tell(worker.address, self.crew.command(worker.uid, verb, moment(now)))

    def _write(
        self, now: int, changes: dict[str, object], *, generation: int | None = None, mark: str | None = None
    ) -> None:
        """Ask the API server, and wait."""
        self.awaits = now + GIVES_UP
        bare = frozenset(worker.uid for worker in self.crew.live if worker.is_bare)
        self.write(Write(now, generation, mark, changes, self._answer, now, bare))

    def _answer(self, there: Deployment | None) -> None:
        self.awaits = None
        self._see(there if there is not None else self.cluster.deployment)

    def _see(self, there: Deployment) -> None:
        if int(there.resource_version) > int(self.deployment.resource_version):
            self.deployment = there
