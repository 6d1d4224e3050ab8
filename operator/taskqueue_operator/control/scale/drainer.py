"""Removes workers by the drain protocol: carries out one plan after the other, and notes what came of it.

What to do is planned by `workers.drain_plan`, a pure function; here it is written, sent and counted.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

import structlog

from taskqueue_operator.control.cache import Cache
from taskqueue_operator.control.clock import Clock
from taskqueue_operator.control.ports import Cluster
from taskqueue_operator.control.queue_observer import QueueObserver
from taskqueue_operator.control.state import States, TaskQueueState
from taskqueue_operator.control.telemetry import Telemetry
from taskqueue_operator.drain import plain
from taskqueue_operator.drain.consumers import evidence
from taskqueue_operator.drain.context import DrainContext, QueueState
from taskqueue_operator.drain.plan import Plan, plan
from taskqueue_operator.drain.protocol import Report, Result, Unreadable, Verb
from taskqueue_operator.drain.replicaset_order import annotations
from taskqueue_operator.drain.scale_in import MOMENTARY, Blocker
from taskqueue_operator.drain.worker import Worker
from taskqueue_operator.drain.worker_pool import WorkerPool
from taskqueue_operator.drain.worker_state import WorkerState
from taskqueue_operator.resource.names import Key
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.resource.worker import Protocol
from taskqueue_operator.workers.api_objects import Deployment, Pod

STEPS: Final = 5
"""Plans at once: each is made of what is known now, and does one thing; one may only prepare the next."""

NO_MATTER_WHAT: Final = datetime.max.replace(tzinfo=UTC)
"""When a queue is as good as empty to whoever has stopped its workers."""

_log = structlog.get_logger("drain")


class Leader(NamedTuple):
    """In whose name workers are told something: an installation, and the epoch of its present leader."""

    installation: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Drainer:
    """Talks with workers, and lowers the number of replicas as far as they have stepped aside."""

    cache: Cache
    states: States
    cluster: Cluster
    telemetry: Telemetry
    clock: Clock
    author: Leader

    def heard(self, about: str, message: bytes, address: str) -> Key | None:
        """Take a report that came as one `about` a TaskQueue; returns that, None when it is none of ours."""
        try:
            report = Report.parse(message)
        except Unreadable as error:
            _log.warning("report not understood", detail=str(error))
            return None
        if report.taskqueue != about:
            _log.warning(
                "report not believed", detail=f"It came as one about {about}, and speaks of another TaskQueue."
            )
            return None
        if report.answer is not None and report.answer.result is Result.REFUSED:
            _log.info("command refused", taskqueue=about, pod=report.pod, reason=report.answer.reason)
        namespace, _, name = about.partition("/")
        key = Key(namespace, name)
        there = self.cache.deployments.get(key)
        if self.cache.taskqueue(key) is None or there is None:
            return None
        crew = self._crew(self.states[key], there)
        if crew.worker(report.pod) is None:
            self._observe(key, crew, there)
        crew.see(report, address, self.clock())
        return key

    def shown(self, key: Key) -> None:
        """The API shows something new of the workers: when a container begins or ends counts, beside what it says."""
        state, there = self.states.get(key), self.cache.deployments.get(key)
        if state is not None and state.drain.pool is not None and there is not None:
            self._observe(key, self._crew(state, there), there)

    def attend(self, key: Key) -> None:
        """Hear the workers of a TaskQueue while there may be some."""
        state, there, taskqueue = self.states[key], self.cache.deployments.get(key), self.cache.taskqueue(key)
        if state.connection.observer is not None:
            workers = there is not None and bool(there.replicas or there.live or there.mark or self._departing(key))
            mute = taskqueue is not None and _is_plain(taskqueue)
            state.connection.observer.subscribe_reports(key, wanted=workers and not mute)

    def has_work(self, key: Key, desired: int) -> bool:
        """Whether workers are to go, or some of them are drained or on their way out."""
        there = self.cache.deployments.get(key)
        if there is None:
            return False
        return bool(there.mark) or desired < max(there.replicas, there.live) or bool(self._departing(key))

    async def step(self, key: Key, desired: int, *, stops: bool) -> int | None:
        """Take the next steps towards `desired` workers; with `stops`, zero needs no evidence of an empty queue.

        To be called by one at a time for each key.

        Returns:
            The number of replicas that was written, None if none was.

        Raises:
            Conflict: The Deployment is not what it was.
        """
        state = self.states[key]
        for _ in range(STEPS):
            there = self.cache.deployments.get(key)
            if there is None:
                return None
            plan = self._plan(key, state, there, desired, stops=stops)
            # Who is needed comes back before anything is written that may fail.
            await self._tell_all(state, there, Verb.UNDRAIN, plan.undrain)
            if plan.remark is not None:
                await self._mark(there, plan.remark.after)
            elif plan.costs:
                await self._write_costs(state, there, plan)
            elif plan.restore_to is not None:
                return await self._write(there, plan.restore_to, mark="")
            elif plan.lower_to is not None and plan.lower_to < there.replicas:
                self._crew(state, there).begin_scale_in(there, self.clock())
                return await self._write(there, plan.lower_to, mark=there.mark)
            else:
                await self._tell_all(state, there, Verb.DRAIN, (*plan.renew, *plan.part))
                await self._tell_all(state, there, *self._chosen(state, there, plan))
                return None
        return None

    def _plan(self, key: Key, state: TaskQueueState, there: Deployment, desired: int, *, stops: bool) -> Plan:
        crew, now = self._crew(state, there), self.clock()
        self._observe(key, crew, there)
        taskqueue, observer = self.cache.taskqueue(key), state.connection.observer
        queue = QueueState(running=False)
        if taskqueue is not None and observer is not None:
            queue = observer.queue_state(taskqueue.queue_name)
        if stops:
            queue = queue._replace(empty_at=NO_MATTER_WHAT)
        situation = DrainContext(crew, there, queue, desired, now)
        if taskqueue is not None and _is_plain(taskqueue):
            situation = _attested(taskqueue, observer, situation)
        made = plan(situation)
        drain = state.drain
        if made.waiting_for not in {drain.blocked_by, *MOMENTARY}:
            drain.blocked_by, drain.blocked_since = made.waiting_for, now
            if made.waiting_for is not Blocker.NOTHING:
                _log.info("scale-in blocked", taskqueue=str(key), desired=desired, blocked_by=str(made.waiting_for))
        drain.unreported_pods = made.silent
        return made

    async def _tell_all(self, state: TaskQueueState, there: Deployment, verb: Verb, workers: Iterable[Worker]) -> None:
        await asyncio.gather(*(self._tell(state, there, worker, verb) for worker in workers))

    def _chosen(self, state: TaskQueueState, there: Deployment, plan: Plan) -> tuple[Verb, Iterable[Worker]]:
        """Ask first who is idle, when somebody is to go: regular reports come too seldom to know."""
        now = self.clock()
        consuming = [each for each in self._crew(state, there).live if each.standing(now) is WorkerState.CONSUMING]
        to_be_asked = [each for each in consuming if each.needs_report_request(now)]
        if plan.drain and (to_be_asked or any(each.awaits_report(now) for each in consuming)):
            return Verb.REPORT, to_be_asked
        return Verb.DRAIN, [worker for worker in plan.drain if not worker.report_overdue(now)]

    async def _tell(self, state: TaskQueueState, there: Deployment, worker: Worker, verb: Verb) -> None:
        command = self._crew(state, there).command(worker.uid, verb, self.clock())
        self.telemetry.commanded(verb)
        if state.connection.observer is not None:
            await state.connection.observer.send_command(worker.address, command.write())

    async def _mark(self, there: Deployment, mark: str) -> None:
        body = await self.cluster.set_drain_token(there.key, mark, generation=there.generation)
        self.cache.update_deployment(body)
        self.telemetry.wrote("drain_token")

    async def _write(self, there: Deployment, replicas: int, *, mark: str) -> int:
        body = await self.cluster.scale(there.key, replicas=replicas, generation=there.generation, drain_token=mark)
        self.cache.update_deployment(body)
        return replicas

    async def _write_costs(self, state: TaskQueueState, there: Deployment, plan: Plan) -> None:
        crew = self._crew(state, there)
        due = [(worker.pod, cost) for uid, cost in plan.costs.items() if (worker := crew.worker(uid)) is not None]
        await asyncio.gather(*(self._write_cost(pod, cost) for pod, cost in due))

    async def _write_cost(self, pod: Pod, cost: int | None) -> None:
        body = await self.cluster.annotate_pod(pod.key, annotations(cost), uid=pod.uid)
        self.telemetry.wrote("deletion_cost")
        if body is not None:
            self.cache.update_pod(body)

    def _departing(self, key: Key) -> list[Pod]:
        return [pod for pod in self.cache.pods(key) if pod.deleting and not pod.finished]

    def _crew(self, state: TaskQueueState, there: Deployment) -> WorkerPool:
        """Find the crew of this Deployment; that of a former one of its name is another."""
        drain = state.drain
        if drain.pool is None or drain.pool_uid != there.uid:
            drain.pool, drain.pool_uid = WorkerPool(*self.author, self.clock()), there.uid
        return drain.pool

    def _observe(self, key: Key, crew: WorkerPool, there: Deployment) -> None:
        lowered = crew.lowering is not None and crew.lowering.generation is not None
        for worker in crew.observe(there, self.cache.pods(key), self.clock()):
            if lowered:
                self._count(key, worker)

    def _count(self, key: Key, worker: Worker) -> None:
        victim = worker.victim()
        self.telemetry.removed(victim)
        _log.info("worker removed", taskqueue=str(key), pod=worker.pod.key.name, state=str(victim))


def _is_plain(taskqueue: TaskQueue) -> bool:
    """Whether the workers keep no protocol by which they could be asked."""
    return taskqueue.spec.worker.protocol is Protocol.PLAIN


def _attested(taskqueue: TaskQueue, observer: QueueObserver | None, situation: DrainContext) -> DrainContext:
    """Have those who cannot be asked looked at, where that shows who runs a task."""
    if not taskqueue.spec.worker.acks_late:
        return plain.attested(situation, None)
    looks = observer.consumer_snapshots() if observer is not None else ()
    return plain.attested(situation, evidence(looks, taskqueue.queue_name, situation.pods, situation.now))
