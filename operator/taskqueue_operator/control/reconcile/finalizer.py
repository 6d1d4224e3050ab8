"""The deletion of a TaskQueue: applies its deletionPolicy. The status shows a wait.

Any step may be the last one before a crash: the next attempt continues from the actual objects. Only objects that carry
the owner mark of this TaskQueue are deleted.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog

from taskqueue_operator.control.cache import Cache
from taskqueue_operator.control.clock import Clock
from taskqueue_operator.control.ports import Cluster
from taskqueue_operator.control.queue_observer import QueueObserver
from taskqueue_operator.control.state import States
from taskqueue_operator.control.telemetry import Telemetry
from taskqueue_operator.resource.broker import DeletionPolicy
from taskqueue_operator.resource.faults import BrokerFault, Fault, Reason, TopologyFault
from taskqueue_operator.resource.names import FINALIZER, dead_letter_queue
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.scaling.reading import Reading
from taskqueue_operator.topology.deletion import fence_steps, is_fenced, removal_steps
from taskqueue_operator.topology.desired import desired as desired_topology
from taskqueue_operator.topology.diff import Remove, Step
from taskqueue_operator.topology.objects import Topology
from taskqueue_operator.topology.queue_policies import queue_policies

from .connection import BrokerConnector
from .topology import ROUNDS, TopologyReconciler

BROKER_OUTAGE_GRACE: Final = timedelta(seconds=60)
"""How long a broker may be unreachable before a deletion retains the topology."""


class RetainTopology(Exception):
    """The deletion policy can no longer be applied: the topology is retained."""


@dataclass(frozen=True, slots=True)
class Finalizer:
    """Deletes the broker objects of a TaskQueue as its deletionPolicy requires."""

    cache: Cache
    states: States
    cluster: Cluster
    connector: BrokerConnector
    topology: TopologyReconciler
    telemetry: Telemetry
    clock: Clock

    async def finalize(self, taskqueue: TaskQueue) -> None:
        """Continue the deletion, and remove the finalizer at its end.

        Raises:
            Fault: The deletion waits; the message contains the reason.
        """
        if FINALIZER not in taskqueue.finalizers:
            return
        cause = None
        try:
            await self._apply_policy(taskqueue)
        except RetainTopology as error:
            cause = str(error)
        others = [finalizer for finalizer in taskqueue.finalizers if finalizer != FINALIZER]
        body = await self.cluster.set_finalizers(taskqueue.key, others, resource_version=taskqueue.resource_version)
        self.telemetry.wrote("finalizer")
        if body is not None:
            self.cache.update_taskqueue(body)
        if cause is not None:  # told once, also if the finalizer could be removed only at another attempt
            self.telemetry.retained(taskqueue.key, cause)
            log = structlog.get_logger("finalizer")
            log.warning("topology retained", taskqueue=str(taskqueue.key), queue=taskqueue.queue_name, why=cause)

    async def _apply_policy(self, taskqueue: TaskQueue) -> None:
        observer = await self._observer(taskqueue)
        try:
            match taskqueue.spec.deletion_policy:
                case DeletionPolicy.RETAIN:
                    await self._unfence(taskqueue, observer)
                    await self._remove_policies(taskqueue, observer)
                case DeletionPolicy.DELETE_IF_EMPTY:
                    await self._empty(taskqueue, observer)
                    await self._remove(taskqueue, observer, fenced=True)
                case DeletionPolicy.DELETE:
                    await self._stop_workers(taskqueue)
                    await self._remove(taskqueue, observer, fenced=False)
        except TopologyFault as fault:  # an object on the broker prevents the deletion
            raise RetainTopology(fault.message) from None
        except BrokerFault as fault:
            self._check_outage(taskqueue, fault)
            raise
        except Fault:
            self.states[taskqueue.key].reconcile.unreachable_since = None
            raise

    async def _observer(self, taskqueue: TaskQueue) -> QueueObserver:
        queue = taskqueue.queue_name
        try:
            return await self.connector.connect(taskqueue, queue, dead_letter_queue(queue))
        except BrokerFault as fault:
            raise RetainTopology(fault.message) from None

    def _check_outage(self, taskqueue: TaskQueue, fault: Fault) -> None:
        """Retain the topology if the broker has been unreachable for too long, by this process's own clock."""
        state = self.states[taskqueue.key].reconcile
        if state.unreachable_since is None:
            state.unreachable_since = self.clock()
        if self.clock() - state.unreachable_since > BROKER_OUTAGE_GRACE:
            raise RetainTopology(fault.message) from None

    async def _unfence(self, taskqueue: TaskQueue, observer: QueueObserver) -> None:
        """Remove the fence: the queue stays, and publishers may publish again."""
        actual = await observer.topology()
        if is_fenced(self._desired(taskqueue), actual, owner=self._owner(taskqueue)):
            await self._apply(observer, self.topology.steps(taskqueue, actual))

    async def _remove_policies(self, taskqueue: TaskQueue, observer: QueueObserver) -> None:
        """Give the queues back to the policies of their users, once no worker needs a policy of the operator."""
        policies = queue_policies(taskqueue.queue_name, await observer.topology())
        if policies:
            await self._stop_workers(taskqueue)
            await self._apply(observer, tuple(map(Remove, policies)))

    async def _empty(self, taskqueue: TaskQueue, observer: QueueObserver) -> None:
        """Fence the queue, then wait until it and its dead-letter queue are empty; the workers continue meanwhile."""
        fenced = await self._fence(taskqueue, observer)
        for queue in (name for name in self._desired(taskqueue).queues if name in fenced.queues):
            reading = observer.reading(queue)
            if reading.is_empty:
                continue
            if reading.at_most is None and (fault := observer.fault_at(queue)) is not None:
                raise fault
            if (reading.at_most or reading.deferred) and await self.cluster.deployment(taskqueue.key) is None:
                await self._unfence(taskqueue, observer)
                raise RetainTopology(f"queue {queue} holds messages and its workers are gone")
            raise Fault(Reason.NOT_EMPTY, _why_waiting(queue, reading))

    async def _fence(self, taskqueue: TaskQueue, observer: QueueObserver) -> Topology:
        """Fence the queue; return what is on the broker then."""
        desired, owner = self._desired(taskqueue), self._owner(taskqueue)
        actual = await observer.topology()
        for _ in range(ROUNDS):
            steps = fence_steps(desired, actual, owner=owner)
            if not steps:
                return actual
            try:
                await self._apply(observer, steps)
            finally:  # without an answer too: the steps may have been applied
                for queue in desired.queues:
                    observer.discard_samples(queue)
            actual = await observer.topology()
        raise Fault(
            Reason.NOT_EMPTY,
            f'Deletion waits: another client restores the bindings of queue "{taskqueue.queue_name}". '
            "Find and stop it.",
        )

    async def _stop_workers(self, taskqueue: TaskQueue) -> None:
        """Scale to zero, and wait until the workers have finished their tasks."""
        async with self.states[taskqueue.key].write_lock:
            deployment = self.cache.deployments.get(taskqueue.key)
            if deployment is not None and deployment.owner_uid != taskqueue.uid:
                return  # neither it nor its pods belong to this TaskQueue
            if deployment is not None and deployment.replicas > 0:
                body = await self.cluster.scale(taskqueue.key, replicas=0, generation=deployment.generation)
                self.cache.update_deployment(body)
                self.telemetry.wrote("replicas")
        remaining = sum(not pod.finished for pod in self.cache.pods(taskqueue.key))
        if remaining or (deployment is not None and deployment.current_replicas):
            raise Fault(Reason.DELETING, f"Deletion waits for {remaining or 'the last'} workers to finish their tasks.")

    async def _remove(self, taskqueue: TaskQueue, observer: QueueObserver, *, fenced: bool) -> None:
        desired, owner = self._desired(taskqueue), self._owner(taskqueue)
        actual = await observer.topology()
        if fenced and fence_steps(desired, actual, owner=owner):
            raise Fault(Reason.DELETING, "Deletion waits: the fence that refuses publishers is incomplete again.")
        await self._apply(observer, removal_steps(desired, actual, owner=owner))
        if removal_steps(desired, await observer.topology(), owner=owner):
            # Retried later, not at once: an object that was created again must be read again before it is deleted.
            raise Fault(
                Reason.DELETING,
                f'Deletion waits: another client creates queue "{taskqueue.queue_name}" again. Find and stop it.',
            )

    async def _apply(self, observer: QueueObserver, steps: tuple[Step, ...]) -> None:
        if steps:
            await observer.vhost.apply(steps)
            self.telemetry.wrote("topology")

    def _desired(self, taskqueue: TaskQueue) -> Topology:
        return desired_topology(taskqueue, self.topology.installation)

    def _owner(self, taskqueue: TaskQueue) -> str:
        return self.topology.owner(taskqueue.key)


def _why_waiting(queue: str, reading: Reading) -> str:
    if reading.at_most is None:
        return f'Deletion waits until it is certain that queue "{queue}" is empty. Publishers are refused meanwhile.'
    states = {"ready": reading.at_most, "unacked": reading.unacked, "delayed or dead-lettering": reading.deferred}
    held = " and ".join(f"{count} {state}" for state, count in states.items() if count)
    return (
        f'Deletion waits: queue "{queue}" holds {held} messages. Publishers are refused, workers continue. '
        "Empty it, or set deletionPolicy: Retain to keep it or Delete to delete it."
    )
