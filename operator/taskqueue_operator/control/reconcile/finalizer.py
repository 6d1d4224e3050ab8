"""The end of a TaskQueue: does what its deletionPolicy asks, waits visibly, and never for ever.

Every step may be the last before a crash: what is there tells where to go on. Only objects that carry our mark go.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog

from taskqueue_operator.control.cache import Cache
from taskqueue_operator.control.clock import Clock
from taskqueue_operator.control.ports import Cluster
from taskqueue_operator.control.queue_observer import QueueObserver
from taskqueue_operator.control.state import States
from taskqueue_operator.control.telemetry import Telemetry
from taskqueue_operator.resource.broker import DeletionPolicy
from taskqueue_operator.resource.conditions import ConditionType
from taskqueue_operator.resource.faults import BrokerFault, Fault, Reason, TopologyFault
from taskqueue_operator.resource.names import FINALIZER, dead_letter_queue
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.scaling.memory import is_idle
from taskqueue_operator.topology.deletion import fence_steps, is_fenced, removal_steps
from taskqueue_operator.topology.desired import desired
from taskqueue_operator.topology.diff import Step
from taskqueue_operator.topology.objects import Topology

from .connection import BrokerConnector
from .topology import ROUNDS, TopologyReconciler

BROKER_OUTAGE_GRACE: Final = timedelta(seconds=60)
"""How long a broker may be unreachable before a deletion retains the topology."""


class RetainTopology(Exception):
    """What the policy asks can no longer be done."""


@dataclass(frozen=True, slots=True)
class Finalizer:
    """Takes down what a TaskQueue would leave behind."""

    cache: Cache
    states: States
    cluster: Cluster
    connector: BrokerConnector
    declarer: TopologyReconciler
    telemetry: Telemetry
    clock: Clock

    async def finalize(self, taskqueue: TaskQueue) -> None:
        """Go as far as possible, and take the finalizer off at the end.

        Raises:
            Fault: The deletion waits for something; the message says for what.
        """
        if FINALIZER not in taskqueue.finalizers:
            return
        try:
            await self._follow_policy(taskqueue)
        except RetainTopology as finding:
            self.telemetry.retained(taskqueue.key, str(finding))
            structlog.get_logger("teardown").warning(
                "topology is retained", taskqueue=str(taskqueue.key), queue=taskqueue.queue_name, why=str(finding)
            )
        others = [each for each in taskqueue.finalizers if each != FINALIZER]
        body = await self.cluster.set_finalizers(taskqueue.key, others, resource_version=taskqueue.resource_version)
        self.telemetry.wrote("finalizer")
        if body is not None:
            self.cache.update_taskqueue(body)

    async def _follow_policy(self, taskqueue: TaskQueue) -> None:
        observer = await self._observer(taskqueue)
        try:
            match taskqueue.spec.deletion_policy:
                case DeletionPolicy.RETAIN:
                    await self._unfence(taskqueue, observer)
                case DeletionPolicy.DELETE_IF_EMPTY:
                    await self._empty(taskqueue, observer)
                    await self._remove(taskqueue, observer)
                case DeletionPolicy.DELETE:
                    await self._stop_workers(taskqueue)
                    await self._remove(taskqueue, observer)
        except TopologyFault as fault:  # what is there leaves no way to do it
            raise RetainTopology(fault.message) from None
        except BrokerFault as fault:
            self._lose_patience(taskqueue, fault)
            raise

    async def _observer(self, taskqueue: TaskQueue) -> QueueObserver:
        queue = taskqueue.queue_name
        try:
            return await self.connector.connect(taskqueue, queue, dead_letter_queue(queue))
        except BrokerFault as fault:
            raise RetainTopology(fault.message) from None

    def _lose_patience(self, taskqueue: TaskQueue, fault: Fault) -> None:
        """Give up on a broker that has been away for long; its condition tells since when."""
        seen = self.cache.taskqueues.get(taskqueue.key)
        conditions = seen.status.get("conditions", ()) if seen is not None else ()
        reachable = next((each for each in conditions if each["type"] == ConditionType.BROKER_REACHABLE), None)
        if reachable is None or reachable["status"] != "False":
            return
        if self.clock() - datetime.fromisoformat(reachable["lastTransitionTime"]) > BROKER_OUTAGE_GRACE:
            raise RetainTopology(fault.message) from None

    async def _unfence(self, taskqueue: TaskQueue, observer: QueueObserver) -> None:
        """The queue stays after all: publishers are let in again."""
        there = await observer.topology()
        if is_fenced(self._wanted(taskqueue), there, owner=self._mark(taskqueue)):
            await self._take(observer, self.declarer.steps(taskqueue, there))

    async def _empty(self, taskqueue: TaskQueue, observer: QueueObserver) -> None:
        """Refuse publishers, then wait until nothing is left in either queue; the workers go on meanwhile."""
        wanted, mark = self._wanted(taskqueue), self._mark(taskqueue)
        there = await observer.topology()
        for _ in range(ROUNDS):
            steps = fence_steps(wanted, there, owner=mark)
            if not steps:
                break
            try:
                await self._take(observer, steps)
            finally:  # without an answer too: it may have been done
                for queue in wanted.queues:
                    observer.discard_samples(queue)
            there = await observer.topology()
        else:
            raise Fault(Reason.NOT_EMPTY, f'Deletion waits: somebody lets publishers back to "{taskqueue.queue_name}".')
        for queue in (name for name in wanted.queues if name in there.queues):
            reading = observer.reading(queue)
            if is_idle(reading):
                continue
            if reading.at_most is None and (fault := observer.fault_at(queue)) is not None:
                raise fault
            if reading.at_most and await self.cluster.deployment(taskqueue.key) is None:
                await self._unfence(taskqueue, observer)
                raise RetainTopology(f"queue {queue} holds messages and its workers are gone")
            raise Fault(Reason.NOT_EMPTY, _why_waiting(queue, reading.at_most, reading.unacked))

    async def _stop_workers(self, taskqueue: TaskQueue) -> None:
        """Have the workers finish what they run."""
        async with self.states[taskqueue.key].write_lock:
            there = self.cache.deployments.get(taskqueue.key)
            if there is not None and there.replicas > 0:
                body = await self.cluster.scale(taskqueue.key, replicas=0, generation=there.generation)
                self.cache.update_deployment(body)
                self.telemetry.wrote("replicas")
        left = sum(not pod.finished for pod in self.cache.pods(taskqueue.key))
        if left or (there is not None and there.current_replicas):
            raise Fault(Reason.DELETING, f"Deletion waits for {left or 'the last'} workers to finish their tasks.")

    async def _remove(self, taskqueue: TaskQueue, observer: QueueObserver) -> None:
        wanted, mark = self._wanted(taskqueue), self._mark(taskqueue)
        await self._take(observer, removal_steps(wanted, await observer.topology(), owner=mark))
        if removal_steps(wanted, await observer.topology(), owner=mark):
            # Not at once again: what has been made anew meanwhile is to be looked at anew too.
            raise Fault(
                Reason.DELETING, f'Deletion waits: somebody makes "{taskqueue.queue_name}" again. Find out who.'
            )

    async def _take(self, observer: QueueObserver, steps: tuple[Step, ...]) -> None:
        if steps:
            await observer.vhost.apply(steps)
            self.telemetry.wrote("topology")

    def _wanted(self, taskqueue: TaskQueue) -> Topology:
        return desired(taskqueue, self.declarer.installation)

    def _mark(self, taskqueue: TaskQueue) -> str:
        return self.declarer.owner(taskqueue.key)


def _why_waiting(queue: str, ready: int | None, unacked: int | None) -> str:
    if ready is None:
        return f'Deletion waits until it is certain that queue "{queue}" is empty. Publishers are refused meanwhile.'
    return (
        f'Deletion waits: queue "{queue}" holds {ready} messages and {unacked or 0} are being worked on. Publishers '
        "are refused, workers go on. Empty it, or set deletionPolicy: Retain to keep it or Delete to drop it."
    )
