"""Removes workers by the drain protocol: executes the plans of `drain.plan`, and records what blocks them.

What to do is decided by pure functions. Here it is written to the API server, sent to workers and counted.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from secrets import token_bytes
from typing import Final

import structlog

from taskqueue_operator.control.cache import Cache
from taskqueue_operator.control.clock import Clock
from taskqueue_operator.control.ports import Body, Cluster
from taskqueue_operator.control.slices import Slices
from taskqueue_operator.control.state import States, TaskQueueState
from taskqueue_operator.control.telemetry import Telemetry
from taskqueue_operator.drain.actions import RestoreReplicas, ScaleIn, WriteDeletionCost, WriteDrainToken
from taskqueue_operator.drain.context import DrainContext, QueueState
from taskqueue_operator.drain.execution import Send, Write, execute
from taskqueue_operator.drain.plan import Plan, plan
from taskqueue_operator.drain.protocol import State
from taskqueue_operator.drain.removed import removed_state
from taskqueue_operator.drain.replicaset_order import cost_annotations
from taskqueue_operator.drain.scale_in import MOMENTARY, Blocker
from taskqueue_operator.drain.worker import Worker
from taskqueue_operator.drain.worker_pool import WorkerPool
from taskqueue_operator.resource.names import Key
from taskqueue_operator.workers.api_objects import Deployment, Pod

from .leader import Leader
from .plain_workers import is_plain, record_endings, stop_consumers, survey_queues, with_broker_evidence
from .report_reader import read_report

FROM_THE_START: Final = datetime.max.replace(tzinfo=UTC)
"""Treat the queue as empty from the start: used when the user paused the workers."""
SECRET_BYTES: Final = 32
"""Bytes of the secret from which a worker pool makes the ids of its commands."""

_log = structlog.get_logger("drain")


@dataclass(frozen=True, slots=True)
class Drainer:
    """Drains workers, and reduces replicas as far as the workers are drained.

    `request_status` is called when a report has changed what conditions show.
    """

    cache: Cache
    states: States
    cluster: Cluster
    telemetry: Telemetry
    clock: Clock
    leader: Leader
    request_status: Callable[[Key], None]

    def on_report(self, taskqueue: str, message: bytes, address: str) -> Key | None:
        """Store a report of a worker.

        Args:
            taskqueue: The routing key that the report was published with: `namespace/name`.
            message: The report.
            address: Where to send commands to this worker.

        Returns:
            The TaskQueue; None if the report is invalid or its TaskQueue is unknown.
        """
        namespace, _, name = taskqueue.partition("/")
        key = Key(namespace, name)
        known, deployment = self.cache.taskqueue(key), self.cache.deployment(key)
        if known is None or deployment is None:
            return None
        state, timeout = self.states[key], known.spec.worker.task_timeout_seconds
        report = read_report(taskqueue, message, state.drain, task_timeout_seconds=timeout)
        if report is None:
            return None
        pool, shown = self._pool(key, state, deployment), state.drain.shown
        pool.on_report(report, address, self.clock())
        if state.drain.shown != shown:
            self.request_status(key)
        worker = pool.worker(report.pod)
        if worker is not None and report.state is State.CONSUMING:
            self.cache.record_start(key, worker.pod.template_hash)
        return key

    def on_pods(self, key: Key) -> None:
        """The API shows a change of the Deployment or its pods: when a container starts or ends matters at once."""
        state, deployment, taskqueue = self.states.get(key), self.cache.deployment(key), self.cache.taskqueue(key)
        if state is None:
            return
        if state.drain.pool is not None and deployment is not None:
            self._sync(key, self._pool(key, state, deployment), deployment)
        if taskqueue is not None and is_plain(taskqueue):
            record_endings(state.drain, tuple(self.cache.pods(key)), self.telemetry)

    def survey(self, key: Key) -> bool:
        """Note what else Plain workers consume; returns whether that has changed."""
        state, taskqueue = self.states[key], self.cache.taskqueue(key)
        observer = state.connection.observer
        if taskqueue is None or observer is None or not is_plain(taskqueue):
            return False
        pods, queues = tuple(self.cache.pods(key)), state.queue_names(taskqueue)
        return survey_queues(state.drain, pods, queues, observer)

    def update_subscription(self, key: Key) -> None:
        """Subscribe to the reports of a TaskQueue while it has workers that may send some."""
        observer, deployment = self.states[key].connection.observer, self.cache.deployment(key)
        if observer is not None:
            has_workers = deployment is not None and bool(
                deployment.replicas or deployment.current_replicas or deployment.drain_token or self._terminating(key)
            )
            taskqueue = self.cache.taskqueue(key)
            reports = taskqueue is None or not is_plain(taskqueue)
            observer.subscribe_reports(key, enabled=has_workers and reports)

    def has_work(self, key: Key, desired: int) -> bool:
        """Whether workers have to be removed, or some may be drained or are terminating."""
        deployment = self.cache.deployment(key)
        if deployment is None:
            return False
        surplus = desired < max(deployment.replicas, deployment.current_replicas)
        return bool(deployment.drain_token) or surplus or bool(self._terminating(key))

    async def execute(self, key: Key, desired: int, *, paused: bool) -> int | None:
        """Execute drain plans towards `desired` workers; one execution per key at a time.

        Args:
            key: The TaskQueue.
            desired: The desired number of workers.
            paused: Whether the user paused the workers: zero then needs no evidence of an empty queue.

        Returns:
            The number of replicas that was written; None if none was.

        Raises:
            Conflict: The Deployment has changed.
            Fault: The API server refused a write, or did not answer.
        """
        state, deployment = self.states[key], self.cache.deployment(key)
        if deployment is None:
            return None
        pool = self._pool(key, state, deployment)
        leads = await self.leader.leads_beside(key, deployment.drain_token, state.drain, self.clock())

        def next_plan() -> Plan | None:
            present = self.cache.deployment(key)
            if present is None or present.uid != deployment.uid:
                return None
            return self._plan(key, state, present, desired, paused=paused, leads=leads)

        written = None
        for requests in execute(pool, next_plan, self.clock):
            await self._send(state, [request for request in requests if isinstance(request, Send)])
            slices = Slices()  # to write hundreds of objects in one piece would hold the event loop
            writes = [request for request in requests if not isinstance(request, Send)]
            await asyncio.gather(*(self._write(key, write, slices) for write in writes))
            for request in requests:
                if isinstance(request, ScaleIn | RestoreReplicas):
                    written = request.replicas
        taskqueue = self.cache.taskqueue(key)
        if taskqueue is not None and is_plain(taskqueue) and taskqueue.spec.worker.acks_late:
            pods, queues = tuple(self.cache.pods(key)), state.queue_names(taskqueue)
            await stop_consumers(state, pods, queues, self.telemetry)
        return written

    def _plan(  # noqa: PLR0913  what a plan is made for
        self, key: Key, state: TaskQueueState, deployment: Deployment, desired: int, *, paused: bool, leads: bool
    ) -> Plan:
        pool, taskqueue, now = self._pool(key, state, deployment), self.cache.taskqueue(key), self.clock()
        self._sync(key, pool, deployment)
        queues = state.queues(taskqueue) if taskqueue is not None else None
        queue = queues.queue_state() if queues is not None else QueueState(running=False)
        if paused:
            queue = queue._replace(empty_at=FROM_THE_START)
        context = DrainContext(pool, deployment, queue, desired, now, leads)
        if taskqueue is not None and is_plain(taskqueue):
            context = with_broker_evidence(taskqueue, queues, context)
        made = plan(context)
        if made.blocked_by not in {state.drain.blocked_by, *MOMENTARY}:
            state.drain.blocked_by, state.drain.blocked_since = made.blocked_by, now
            if made.blocked_by is not Blocker.NOTHING:
                _log.info("scale-in blocked", taskqueue=str(key), desired=desired, blocked_by=str(made.blocked_by))
        state.drain.unreported_pods = made.unreported_pods
        return made

    async def _send(self, state: TaskQueueState, requests: Sequence[Send]) -> None:
        """Send commands in one go: sent by tasks of their own, each would take several turns of the event loop."""
        for request in requests:
            self.telemetry.commanded(request.command.command)
        if requests and state.connection.observer is not None:
            commands = [(request.address, request.command.write()) for request in requests]
            await state.connection.observer.send_commands(commands)

    async def _write(self, key: Key, write: Write, slices: Slices) -> None:
        await slices.wait()
        target = self.cache.deployment_key(key)
        match write:
            case WriteDrainToken(_, after, generation):
                self._store(
                    await self.cluster.set_drain_token(target, after, taskqueue=key.name, generation=generation)
                )
                self.telemetry.wrote("drain_token")
            case WriteDeletionCost(pod, cost):
                await self._write_cost(pod, cost)
            case ScaleIn(replicas, generation, drain_token):
                body = await self.cluster.scale(
                    target,
                    replicas=replicas,
                    taskqueue=key.name,
                    generation=generation,
                    drain_token=drain_token,
                    started_template=self.cache.unrecorded_start(key),
                )
                self._store(body)
            case RestoreReplicas(replicas, generation):
                self._store(
                    await self.cluster.scale(target, replicas=replicas, taskqueue=key.name, generation=generation)
                )

    def _store(self, deployment: Body) -> None:
        self.cache.update_deployment(deployment)

    async def _write_cost(self, pod: Pod, cost: int | None) -> None:
        body = await self.cluster.annotate_pod(pod.key, cost_annotations(cost), uid=pod.uid)
        self.telemetry.wrote("deletion_cost")
        if body is not None:
            self.cache.update_pod(body)

    def _terminating(self, key: Key) -> list[Pod]:
        return [pod for pod in self.cache.pods(key) if pod.deleting and not pod.finished]

    def _pool(self, key: Key, state: TaskQueueState, deployment: Deployment) -> WorkerPool:
        """Return the pool of this Deployment. A former Deployment of the same name had another one."""
        drain = state.drain
        if drain.pool is None or drain.pool_uid != deployment.uid:
            installation, epoch, _ = self.leader
            pool = WorkerPool(installation, epoch, self.clock(), token_bytes(SECRET_BYTES))
            drain.pool, drain.pool_uid = pool, deployment.uid
            # Once: a later change of the pods comes as an event, and not every report may cost as much as all pods.
            self._sync(key, drain.pool, deployment)
        return drain.pool

    def _sync(self, key: Key, pool: WorkerPool, deployment: Deployment) -> None:
        pending = pool.pending_scale_in
        for worker in pool.sync(deployment, self.cache.pods(key), self.clock()):
            if pending is not None and pending.has_removed(worker, deployment):
                self._count(key, worker)

    def _count(self, key: Key, worker: Worker) -> None:
        state = removed_state(worker, self.clock())
        self.telemetry.removed(state)
        _log.info("worker removed", taskqueue=str(key), pod=worker.pod.key.name, state=str(state))
