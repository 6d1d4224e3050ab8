"""Wires the rooms: an event goes into the cache, and its key into a work queue.

There is one work queue per writer: reconcile (spec to broker and Deployment), scale (decision to replicas) and status
(state to conditions). A queue never runs one key twice at a time. Reconcile and scale of a key exclude each other by
the write lock of its state.
"""

import asyncio
from collections.abc import Collection, Iterator
from typing import Final

from taskqueue_operator.control.observe.observers import Observers
from taskqueue_operator.control.reconcile.autoscalers import Autoscalers
from taskqueue_operator.control.reconcile.connection import BrokerConnector
from taskqueue_operator.control.reconcile.credentials import Credentials
from taskqueue_operator.control.reconcile.deployment import DeploymentReconciler
from taskqueue_operator.control.reconcile.finalizer import Finalizer
from taskqueue_operator.control.reconcile.reconciler import Reconciler
from taskqueue_operator.control.reconcile.referenced_deployment import ReferencedDeployments
from taskqueue_operator.control.reconcile.stages import Stages
from taskqueue_operator.control.reconcile.topology import TopologyReconciler
from taskqueue_operator.control.scale.decider import Decider
from taskqueue_operator.control.scale.drainer import Drainer
from taskqueue_operator.control.scale.leader import Leader
from taskqueue_operator.control.scale.scaler import Scaler
from taskqueue_operator.control.status.writer import StatusWriter
from taskqueue_operator.resource.faults import Fault
from taskqueue_operator.resource.names import Key
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.scaling.recording import to_json
from taskqueue_operator.topology.objects import Topology
from taskqueue_operator.workers.api_objects import Deployment
from taskqueue_operator.workers.pod_security import DEFAULT_LIMITS, PodLimits

from .cache import Cache, CachedTaskQueue
from .clock import Clock
from .ports import Body, Cluster, VhostFactory
from .resync import Resync
from .slots import Group, Slots
from .state import States
from .telemetry import Telemetry
from .workqueue import WorkQueue, WorkQueues

UNREAD_DECISION_PERIOD_SECONDS: Final = 5.0
"""Seconds between two decisions on a TaskQueue that no observer reads."""
BACKOFF_RESET_SECONDS: Final = 60.0
"""A success of scale resets its backoff only this long after a failure: its steps before the failing one succeed."""
TOPOLOGY_SLICE: Final = 32
"""TaskQueues whose topology is compared in one piece: 0.1 ms each."""
PLAN_PAUSE_PER_WORKER_SECONDS: Final = 0.0005
"""Pause before the plan that an event of a worker requests; 500 workers that drain cause four plans a second."""
STATUS_YIELD_SECONDS: Final = 2.0
"""How long a status write yields to the scale queue."""


class Controller:
    """All control loops between the watches and the writes. Create it within a running event loop.

    Attributes:
        first_read: Set once an observer reads each queue that was known at the start.
        cache: What the API server last showed.
        states: What the rooms know of each TaskQueue.
        work_queues: The keys that are to be worked on.
        observers: The observers in use.
        credentials: The Secrets in use.
    """

    def __init__(  # noqa: PLR0913  everything that the app decides, once
        self,
        cluster: Cluster,
        brokers: VhostFactory,
        telemetry: Telemetry,
        clock: Clock,
        leader: Leader,
        *,
        pod_limits: PodLimits = DEFAULT_LIMITS,
    ) -> None:
        self.first_read = asyncio.Event()
        self.work_queues = WorkQueues(
            reconcile=WorkQueue("reconcile", self._reconcile, Slots(64, self._groups)),
            scale=WorkQueue(
                "scale",
                self._scale,
                Slots(64, self._groups),
                backoff_reset_seconds=BACKOFF_RESET_SECONDS,
            ),
            status=WorkQueue("status", self._write_status, Slots(16, self._groups)),
        )
        request_reconcile = self.work_queues.reconcile.add
        cache, states = Cache(self._on_new_spec), States()
        self.cache, self.states = cache, states
        self.observers = Observers(brokers, self, telemetry, clock)
        self._resync = Resync(cache, cluster, request_reconcile)
        self.credentials = Credentials(cluster, brokers, request_reconcile)
        self._connector = BrokerConnector(states, self.credentials, self.observers, clock)
        self._topology = TopologyReconciler(
            cache, states, telemetry, leader.installation, self.work_queues.reconcile.without_slot
        )
        deployment = DeploymentReconciler(cache, states, cluster, telemetry, clock, pod_limits)
        referenced = ReferencedDeployments(cache, states, cluster, Autoscalers(cluster, clock))
        stages = Stages(cache, cluster, self._connector, self._topology, deployment, referenced, telemetry)
        finalizer = Finalizer(cache, states, cluster, self._connector, self._topology, telemetry, clock)
        self._reconciler = Reconciler(cache, states, stages, finalizer, telemetry)
        self._status_writer = StatusWriter(
            cache, states, cluster, telemetry, clock, request_write=self.work_queues.status.add
        )
        self._drainer = Drainer(cache, states, cluster, telemetry, clock, leader, self.work_queues.status.add)
        decider = Decider(cache, states, telemetry, clock, self.work_queues)
        self._scaler = Scaler(cache, states, cluster, telemetry, clock, self.work_queues, decider, self._drainer)

    async def run(self) -> None:
        """Run all loops until cancelled, then close all connections."""
        try:
            # The watches deliver kinds in parallel: a deletion must not begin before the workers are in the cache.
            await self._resync.once()
            # Reading starts before the topology is checked: the check takes longer than messages may wait.
            known = [*self.cache.taskqueues]  # more may be created meanwhile
            await self._connector.connect_all(filter(None, map(self.cache.taskqueue, known)))
            self.first_read.set()
            async with asyncio.TaskGroup() as group:
                for queue in self.work_queues:
                    group.create_task(queue.run(), name=queue.name)
                group.create_task(self._status_writer.run(), name="status turns")
                group.create_task(self.credentials.run(), name="credentials")
                group.create_task(self._resync.run(), name="resync")
                group.create_task(self._decide_unread(), name="decide unread")
        finally:
            await self.observers.close()

    def recordings(self, key: Key) -> bytes | None:
        """Return the recent decisions that changed the desired number, as JSON; None for an unknown TaskQueue."""
        state = self.states.get(key)
        return to_json(state.scaling.recent_decisions) if state is not None and key in self.cache.taskqueues else None

    # Events of the watches.

    def on_taskqueue(self, body: Body, *, deleted: bool) -> None:
        """A TaskQueue was listed, changed or deleted."""
        key = Key(body["metadata"]["namespace"], body["metadata"]["name"])
        before = self.cache.taskqueues.get(key)
        if deleted:
            self.cache.remove_taskqueue(key, body["metadata"]["uid"])
        else:
            self.cache.update_taskqueue(body)
        after = self.cache.taskqueues.get(key)
        if before is not None and after is None:
            self._forget(key)
        if before is None or after is None or _differs(before.parsed, after.parsed):
            self.work_queues.reconcile.add(key)

    def _on_new_spec(self, before: CachedTaskQueue, after: CachedTaskQueue) -> None:
        if before.uid != after.uid:
            self._forget(after.key)
        self.work_queues.reconcile.add(after.key)

    def on_deployment(self, body: Body, *, deleted: bool) -> None:
        """A worker Deployment was listed, changed or deleted."""
        own_key = Key(body["metadata"]["namespace"], body["metadata"]["name"])
        before = self.cache.deployments.get(own_key)
        key = self.cache.update_deployment(body)
        after = self.cache.deployments.get(own_key)
        if deleted:
            self.cache.remove_deployment(own_key, body["metadata"]["uid"], int(body["metadata"]["resourceVersion"]))
            self.work_queues.reconcile.add(key)
        elif _is_to_be_reconciled(before, after):
            self.work_queues.reconcile.add(key)
        self._on_workers(key)
        if before is not None and before.taskqueue_key != key:  # its label names another TaskQueue now
            self.work_queues.reconcile.add(before.taskqueue_key)
            self._on_workers(before.taskqueue_key)

    def on_pod(self, body: Body, *, deleted: bool) -> None:
        """A worker pod was listed, changed or deleted."""
        self._on_workers(self.cache.remove_pod(body) if deleted else self.cache.update_pod(body))

    def _on_workers(self, key: Key) -> None:
        self._drainer.on_pods(key)
        state = self.states.get(key)
        if state is not None and self.cache.scale_out_blocker(key) is not state.scaling.scale_out_blocker:
            self._scaler.reevaluate(key)
        if state is not None and state.scaling.decision is not None:
            self._drainer.update_subscription(key)
            if self._drainer.has_work(key, state.scaling.decision.desired):
                self._request_plan(key)
        self.work_queues.status.add(key)
        taskqueue = self.cache.taskqueue(key)
        if taskqueue is not None and taskqueue.deleting:
            self.work_queues.reconcile.add(key)

    # Events of the observers.

    def is_scaled_to_zero(self, key: Key) -> bool:
        """Whether a TaskQueue has no workers."""
        deployment = self.cache.deployment(key)
        return deployment is None or deployment.replicas == 0

    def on_readings(self, keys: Collection[Key]) -> None:
        """Decide again: there are new readings, or old ones have aged."""
        for key in keys:
            self._scaler.reevaluate(key)

    def on_queue_missing(self, key: Key) -> None:
        """Check the topology at once, but only once: the queue is not on the broker."""
        self._check_topology(key)

    def on_counts(self, keys: Collection[Key]) -> None:
        """Update the status."""
        for key in keys:
            self.work_queues.status.add(key)

    async def on_topology(self, keys: Collection[Key], actual: Topology) -> None:
        """Compare what is on the broker with what was declared, in slices between which other tasks run."""
        for number, key in enumerate(keys):
            if number % TOPOLOGY_SLICE == 0:
                await asyncio.sleep(0)
            taskqueue = self.cache.taskqueue(key)
            if taskqueue is None or taskqueue.deleting:
                continue
            if self.states[key].reconcile.observed_generation is None:
                self._topology.accept_if_matching(taskqueue, actual)
            elif self._topology.has_drifted(taskqueue, actual):
                self.states[key].reconcile.drifted = actual
                self._check_topology(key)

    def on_worker_report(self, subject: str, report: bytes, address: str) -> None:
        """Update the worker, and scale if that allows a next step."""
        key = self._drainer.on_report(subject, report, address)
        decision = self.states[key].scaling.decision if key is not None else None
        if key is not None and decision is not None and self._drainer.has_work(key, decision.desired):
            self._request_plan(key)

    def on_answering(self, keys: Collection[Key]) -> None:
        """Reconcile: the broker can be read for the first time."""
        for key in keys:
            self.work_queues.reconcile.add(key)

    def on_broker_health(self, keys: Collection[Key]) -> None:
        """Reconcile: the broker failed, or has recovered."""
        for key in keys:
            self.work_queues.reconcile.add(key)
            self.work_queues.status.add(key)

    def _request_plan(self, key: Key) -> None:
        """Plan after a pause that grows with the number of workers, as the duration of a plan does."""
        deployment = self.cache.deployment(key)
        workers = deployment.current_replicas if deployment is not None else 0
        self.work_queues.scale.add_unless_backing_off(key, workers * PLAN_PAUSE_PER_WORKER_SECONDS)

    def _check_topology(self, key: Key) -> None:
        if self.states[key].reconcile.request_topology_check():
            self.work_queues.reconcile.add(key)

    # The work of the queues.

    async def _reconcile(self, key: Key) -> float | None:
        if key not in self.cache.taskqueues:
            self._forget(key)
            return None
        try:
            return await self._reconciler.reconcile(key)
        finally:
            self._scaler.reevaluate(key)
            self.work_queues.status.add(key)

    async def _scale(self, key: Key) -> None:
        await self._scaler.scale(key)

    async def _write_status(self, key: Key) -> float | None:
        # When many queues scale out at once, the API server receives the replicas before the status.
        await self.work_queues.scale.wait_idle(STATUS_YIELD_SECONDS)
        return await self._status_writer.write(key)

    async def _decide_unread(self) -> None:
        """Decide periodically on TaskQueues without an observer: pause, schedules and fallback hold for them too."""
        while True:
            for key in [key for key in self.cache.taskqueues if self.states[key].connection.observer is None]:
                self._scaler.reevaluate(key)
                await asyncio.sleep(0)  # other decisions must not wait for all of these
            await asyncio.sleep(UNREAD_DECISION_PERIOD_SECONDS)

    def _groups(self, key: Key) -> Iterator[Group]:
        yield Group.namespace(key.namespace)
        state = self.states.get(key)
        if state is not None and state.connection.observer is not None:
            yield Group.broker(state.connection.observer.endpoint.address)

    def _forget(self, key: Key) -> None:
        self._connector.forget(key)
        self._status_writer.forget(key)
        self.states.pop(key, None)
        self.work_queues.forget(key)


def _is_to_be_reconciled(before: Deployment | None, after: Deployment | None) -> bool:
    """Whether another client has changed what belongs to the operator, or a Deployment of others is another one now."""
    if before is None or after is None:
        return after is not None and after.template is not None
    identity = (before.uid, before.taskqueue, before.template) != (after.uid, after.taskqueue, after.template)
    return identity or before.field_owners != after.field_owners


def _differs(before: TaskQueue | Fault, after: TaskQueue | Fault) -> bool:
    """Whether more differs than the status, which the operator writes, and the spec, which the cache compares."""
    if isinstance(before, Fault) or isinstance(after, Fault):
        return True
    return (before.deleting, before.finalizers) != (after.deleting, after.finalizers)
