"""The control loop: what is seen goes into the cache, and the keys concerned into one of three lanes.

The lanes are one mechanism three times: reconcile (spec to world), scale (decision to replicas), report (findings to
status). Each key is worked on once at a time in each lane; reconcile and scale exclude each other where they write.
"""

import asyncio
from collections.abc import Collection
from typing import Final

from taskqueue_operator.control.observe.observers import Observers
from taskqueue_operator.control.reconcile.connection import BrokerConnector
from taskqueue_operator.control.reconcile.credentials import Credentials
from taskqueue_operator.control.reconcile.deployment import DeploymentReconciler
from taskqueue_operator.control.reconcile.finalizer import Finalizer
from taskqueue_operator.control.reconcile.reconciler import Reconciler
from taskqueue_operator.control.reconcile.topology import TopologyReconciler
from taskqueue_operator.control.scale.drainer import Drainer, Leader
from taskqueue_operator.control.scale.scaler import Scaler
from taskqueue_operator.control.status.writer import StatusWriter
from taskqueue_operator.resource.conditions import ConditionType
from taskqueue_operator.resource.faults import BrokerFault, Conflict, Fault, Reason
from taskqueue_operator.resource.names import Key
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.scaling.recording import write
from taskqueue_operator.topology.objects import Topology

from .cache import Cache
from .clock import Clock
from .ports import Body, Brokers, Cluster
from .resync import Resync
from .state import States, TaskQueueState
from .telemetry import Telemetry
from .workqueue import RetryLater, WorkQueue

UNREAD_DECISION_PERIOD: Final = 5.0
"""Seconds in which a TaskQueue that cannot be read is decided on once."""
DELETION_RETRY_SECONDS: Final = 5.0
"""Seconds after which a waiting deletion looks again, if nothing calls for it earlier."""
BACKOFF_RESET_SECONDS: Final = 60.0
"""Seconds for which a scaling that failed is not forgotten: the steps before it succeed each time."""
PATIENCE: Final = 2.0
"""Seconds for which a report gives way to writes that scale."""


class Controller:
    """Everything between the watch and the writes. To be made within a running event loop.

    Attributes:
        reading: Set once every TaskQueue that was there at the start is read.
    """

    def __init__(
        self,
        cluster: Cluster,
        brokers: Brokers,
        telemetry: Telemetry,
        clock: Clock,
        author: Leader,
    ) -> None:
        self.reading = asyncio.Event()
        self.cache = Cache()
        self.records = States()
        self.reconciling = WorkQueue("reconcile", self._reconcile, workers=64)
        self.credentials = Credentials(cluster, brokers, self.reconciling.add)
        self.readers = Observers(brokers, self, telemetry, clock)
        self._resync = Resync(self.cache, cluster, self.reconciling.add)
        self._connector = BrokerConnector(self.records, self.credentials, self.readers, clock)
        declarer = TopologyReconciler(self.cache, self.records, telemetry, author.installation)
        deployer = DeploymentReconciler(self.cache, self.records, cluster, telemetry)
        self._declarer = declarer
        self._reconciler = Reconciler(self.cache, self.records, cluster, self._connector, declarer, deployer, telemetry)
        self._teardown = Finalizer(self.cache, self.records, cluster, self._connector, declarer, telemetry, clock)
        self._reporter = StatusWriter(self.cache, self.records, cluster, telemetry, clock)
        self.reporting = WorkQueue("report", self._report, workers=16)
        self._drainer = Drainer(self.cache, self.records, cluster, telemetry, clock, author)
        self._scaler = Scaler(self.cache, self.records, cluster, telemetry, clock, self, self._drainer)
        self.scaling = WorkQueue("scale", self._scaler.scale, workers=64, backoff_reset_seconds=BACKOFF_RESET_SECONDS)

    async def run(self) -> None:
        """Work until cancelled, then let go of all connections."""
        try:
            # The watches show kinds side by side: a deletion must not begin before the workers were seen.
            await self._resync.once()
            # Queues are read before the topology of each has been looked at, which takes longer than they may wait.
            await self._connector.connect_all(filter(None, map(self.cache.taskqueue, self.cache.taskqueues)))
            self.reading.set()
            async with asyncio.TaskGroup() as group:
                for lane in (self.reconciling, self.scaling, self.reporting):
                    group.create_task(lane.run(), name=lane.name)
                group.create_task(self.credentials.run(), name="credentials")
                group.create_task(self._resync.run(), name="resync")
                group.create_task(self._consider_unread(), name="consider")
        finally:
            await self.readers.close()

    # What the watches show.

    def taskqueue(self, body: Body, *, gone: bool) -> None:
        """A TaskQueue was seen, changed, or is gone."""
        key = Key(body["metadata"]["namespace"], body["metadata"]["name"])
        known = self.cache.taskqueues.get(key)
        if gone:
            self.cache.lose_taskqueue(key, body["metadata"]["uid"])
        else:
            self.cache.see_taskqueue(body)
        fresh = self.cache.taskqueues.get(key)
        if known is not None and (fresh is None or fresh.uid != known.uid):
            self._forget(key)
        if known is None or fresh is None or _differs(known.parsed, fresh.parsed):
            self.reconciling.add(key)

    def deployment(self, body: Body, *, gone: bool) -> None:
        """A worker Deployment was seen, changed, or is gone."""
        key = self.cache.see_deployment(body)
        if gone:
            self.cache.lose_deployment(key, body["metadata"]["uid"])
            self.reconciling.add(key)
        self._touch_workers(key)

    def pod(self, body: Body, *, gone: bool) -> None:
        """A worker pod was seen, changed, or is gone."""
        self._touch_workers(self.cache.lose_pod(body) if gone else self.cache.see_pod(body))

    def _touch_workers(self, key: Key) -> None:
        self._drainer.on_pods(key)
        obstacle, record = self.cache.obstacle(key), self.records.get(key)
        if record is not None and obstacle is not record.obstacle:
            self._scaler.consider(key)
        if record is not None and record.decision is not None:
            self._drainer.update_subscription(key)
            if self._drainer.has_work(key, record.decision.desired):
                self.scaling.offer(key)
        self.reporting.add(key)
        self._touch_deletion(key)

    def _touch_deletion(self, key: Key) -> None:
        taskqueue = self.cache.taskqueue(key)
        if taskqueue is not None and taskqueue.deleting:
            self.reconciling.add(key)

    async def _consider_unread(self) -> None:
        """Decide now and then on those whom no observer tells of: pauses, schedules and fallbacks hold for them too."""
        while True:
            for key in [key for key in self.cache.taskqueues if self.records[key].observer is None]:
                self._scaler.consider(key)
                await asyncio.sleep(0)  # other decisions never wait for all of these
            await asyncio.sleep(UNREAD_DECISION_PERIOD)

    def recordings(self, key: Key) -> bytes | None:
        """Write the last decisions that changed the number of workers as JSON; None when there is no such TaskQueue."""
        record = self.records.get(key)
        return write(record.changes) if record is not None and key in self.cache.taskqueues else None

    # What the observers tell.

    def asleep(self, key: Key) -> bool:
        """Whether a TaskQueue has no workers."""
        there = self.cache.deployments.get(key)
        return there is None or there.replicas == 0

    def read(self, keys: Collection[Key]) -> None:
        """There is something new to consider."""
        for key in keys:
            self._scaler.consider(key)

    def missed(self, key: Key) -> None:
        """The queue is not on the broker: look at once, but only once."""
        self._look_at_topology(key)

    def verify(self, keys: Collection[Key], there: Topology) -> None:
        """Compare what the broker holds with what was declared."""
        for key in keys:
            taskqueue = self.cache.taskqueue(key)
            if taskqueue is None or taskqueue.deleting:
                continue
            if self.records[key].settled is None:
                self._declarer.recognize(taskqueue, there)
            elif self._declarer.drifted(taskqueue, there):
                self._look_at_topology(key)

    def heard(self, about: str, report: bytes, address: str) -> None:
        """A worker has reported."""
        key = self._drainer.on_report(about, report, address)
        decision = self.records[key].decision if key is not None else None
        if key is not None and decision is not None and self._drainer.has_work(key, decision.desired):
            self.scaling.offer(key)

    def faulted(self, keys: Collection[Key]) -> None:
        """The broker cannot be used, or can be again."""
        for key in keys:
            self.reconciling.add(key)
            self.reporting.add(key)

    def _look_at_topology(self, key: Key) -> None:
        record = self.records[key]
        if record.verified is not None:
            record.verified = None
            self.reconciling.add(key)

    # The work of the lanes.

    async def _report(self, key: Key) -> float | None:
        # When many wake at once, the API server is to hear of their workers before it hears about them.
        await self.scaling.still(PATIENCE)
        return await self._reporter.report(key)

    async def _reconcile(self, key: Key) -> float | None:
        seen = self.cache.taskqueues.get(key)
        if seen is None:
            self._forget(key)
            return None
        record = self.records[key]
        if isinstance(seen.parsed, Fault):
            record.faults, record.settled = {ConditionType.READY: seen.parsed}, seen.generation
            self.reporting.add(key)
            return None
        try:
            if seen.parsed.deleting:
                return await self._tear_down(seen.parsed, record)
            await self._reconciler.reconcile(seen.parsed)
        except Fault as fault:
            record.faults = {ConditionType.READY: fault}
            raise RetryLater from None
        except (Conflict, RetryLater):
            raise
        except Exception:
            message = "The operator failed on this TaskQueue and tries again; its log says why."
            record.faults = {ConditionType.READY: Fault(Reason.INTERNAL_ERROR, message)}
            raise
        finally:
            self._scaler.consider(key)
            self.reporting.add(key)
        return None

    async def _tear_down(self, taskqueue: TaskQueue, record: TaskQueueState) -> float | None:
        try:
            await self._teardown.tear_down(taskqueue)
        except Fault as fault:
            record.waiting = fault
            record.faults = {ConditionType.BROKER_REACHABLE: fault} if isinstance(fault, BrokerFault) else {}
            return DELETION_RETRY_SECONDS
        record.waiting = None
        return None

    def _forget(self, key: Key) -> None:
        self._connector.forget(key)
        self.records.pop(key, None)
        for lane in (self.reconciling, self.scaling, self.reporting):
            lane.forget(key)


def _differs(before: TaskQueue | Fault, after: TaskQueue | Fault) -> bool:
    """Whether anything but the status has changed: our own status writes must not call for work."""
    if isinstance(before, Fault) or isinstance(after, Fault):
        return True
    return (before.generation, before.deleting, before.finalizers) != (
        after.generation,
        after.deleting,
        after.finalizers,
    )
