"""The deletion of a TaskQueue: applies its deletionPolicy. The status shows a wait.

Any step may be the last one before a crash: the next attempt continues from the actual objects. Only objects that this
TaskQueue owns or has adopted are deleted.
"""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

import structlog

from taskqueue_operator.control.cache import Cache
from taskqueue_operator.control.clock import Clock
from taskqueue_operator.control.consumed_queues import ConsumedQueues
from taskqueue_operator.control.ports import Cluster
from taskqueue_operator.control.queue_observer import QueueObserver
from taskqueue_operator.control.state import States
from taskqueue_operator.control.telemetry import Telemetry
from taskqueue_operator.resource.broker import DeletionPolicy
from taskqueue_operator.resource.faults import BrokerFault, Fault, Reason, TopologyFault
from taskqueue_operator.resource.names import FINALIZER, dead_letter_queue
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.topology.adoption import with_adopted
from taskqueue_operator.topology.deletion import fence_steps, is_fenced, removal_steps, retaining_steps
from taskqueue_operator.topology.desired import desired as desired_topology
from taskqueue_operator.topology.diff import Step
from taskqueue_operator.topology.migration import removal_of_interim
from taskqueue_operator.topology.objects import Topology

from .connection import BrokerConnector
from .deletion_waits import (
    why_interim_not_empty,
    why_left,
    why_migration_goes_on,
    why_not_empty,
    why_waiting_for_retries,
)
from .topology import ROUNDS, TopologyReconciler

BROKER_OUTAGE_GRACE: Final = timedelta(seconds=60)
"""How long a broker may be unreachable before a deletion retains the topology."""


MIGRATION_ROUNDS: Final = 2 * ROUNDS
"""How often the topology is read in one attempt to abort a migration."""


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
                    await self._abort_migration(taskqueue, observer)
                    await self._unfence(taskqueue, observer)
                    await self._remove_policies(taskqueue, observer)
                case DeletionPolicy.DELETE_IF_EMPTY | DeletionPolicy.DRAIN:
                    if leaving := await self._abort_migration(taskqueue, observer):
                        raise await self._wait_for_interim(taskqueue, observer, leaving)
                    emptied = await self._emptied(taskqueue, observer)
                    await self._remove(taskqueue, observer, emptied, fenced=True)
                    self._log_kept(taskqueue, emptied)
                case DeletionPolicy.DELETE:
                    await self._stop_workers(taskqueue)
                    await self._remove_interim(taskqueue, observer)
                    await self._remove(taskqueue, observer, self._desired(taskqueue), fenced=False)
        except TopologyFault as fault:  # an object on the broker prevents the deletion
            raise RetainTopology(fault.message) from None
        except BrokerFault as fault:
            self._check_outage(taskqueue, fault)
            raise
        except Fault:
            self.states[taskqueue.key].reconcile.unreachable_since = None
            raise

    async def _observer(self, taskqueue: TaskQueue) -> QueueObserver:
        try:
            return await self.connector.connect(taskqueue, dead_letter_queue(taskqueue.queue_name))
        except BrokerFault as fault:
            raise RetainTopology(fault.message) from None

    def _check_outage(self, taskqueue: TaskQueue, fault: Fault) -> None:
        """Retain the topology if the broker has been unreachable for too long, by this process's own clock."""
        state = self.states[taskqueue.key].reconcile
        if state.unreachable_since is None:
            state.unreachable_since = self.clock()
        if self.clock() - state.unreachable_since > BROKER_OUTAGE_GRACE:
            raise RetainTopology(fault.message) from None

    async def _abort_migration(self, taskqueue: TaskQueue, observer: QueueObserver) -> str | None:
        """Lead publishers back to the queue; return the interim queue as long as it exists, None afterwards.

        A TaskQueue of the same name empties an interim queue that is retained.
        """
        for _ in range(MIGRATION_ROUNDS):
            found = self.topology.migrate(taskqueue, await self.topology.read(taskqueue, observer), observer)
            if found is None or not found.steps:
                return found.leaving if found is not None else None
            await self._apply(observer, found.steps)
        raise Fault(Reason.DELETING, why_migration_goes_on(taskqueue))

    async def _wait_for_interim(self, taskqueue: TaskQueue, observer: QueueObserver, interim: str) -> Exception:
        wait = Fault(Reason.NOT_EMPTY, why_interim_not_empty(taskqueue, interim))
        return await self._blocker(taskqueue, observer, wait, f"queue {interim} may hold messages")

    async def _remove_interim(self, taskqueue: TaskQueue, observer: QueueObserver) -> None:
        actual = await self.topology.read(taskqueue, observer)
        if self.topology.migrations.is_due(taskqueue, actual):
            desired, owner = self._desired(taskqueue), self._owner(taskqueue)
            await self._apply(observer, removal_of_interim(desired, owner, actual))

    async def _unfence(self, taskqueue: TaskQueue, observer: QueueObserver) -> None:
        """Remove the fence: the queue stays, and publishers may publish again, once its rejected messages are kept."""
        for _ in range(ROUNDS):
            actual = await self.topology.read(taskqueue, observer)
            fenced = is_fenced(self._desired(taskqueue), actual, owner=self._owner(taskqueue))
            steps = self.topology.steps(taskqueue, actual) if fenced else ()
            if not steps:
                return
            await self._apply(observer, steps)

    async def _remove_policies(self, taskqueue: TaskQueue, observer: QueueObserver) -> None:
        """Give the queues back to the policies of their users, once no worker needs a policy of the operator."""
        actual = await self.topology.read(taskqueue, observer)
        steps = retaining_steps(taskqueue.queue_name, actual, taskqueue.declared_queues)
        if steps:
            await self._stop_workers(taskqueue)
            await self._apply(observer, steps)

    async def _emptied(self, taskqueue: TaskQueue, observer: QueueObserver) -> Topology:
        """Fence the queue, and wait until nothing that is removed holds a message; the workers continue meanwhile.

        Returns:
            The topology to remove. A dead-letter queue that holds messages is not part of it if the policy is Drain:
            no worker empties it.
        """
        fenced, desired = await self._fence(taskqueue, observer), self._desired(taskqueue)
        existing = [queue for queue in desired.queues if queue in fenced.queues]
        kept = {queue for queue in existing if not await self._is_empty(taskqueue, observer, queue)}
        # After the queue: a retry that returns to it is counted until the queue shows it.
        delayed = ConsumedQueues(observer, taskqueue.queue_names).delayed()
        if delayed != 0 or observer.has_overdue_retries:
            wait = Fault(Reason.NOT_EMPTY, why_waiting_for_retries(taskqueue, delayed))
            held = f"messages of queue {taskqueue.queue_name} wait for their retry"
            raise wait if delayed is None else await self._blocker(taskqueue, observer, wait, held)
        return replace(desired, queues={name: queue for name, queue in desired.queues.items() if name not in kept})

    async def _is_empty(self, taskqueue: TaskQueue, observer: QueueObserver, queue: str) -> bool:
        """Wait until a queue is certainly empty; with Drain, the dead-letter queue may also certainly hold messages."""
        reading = observer.reading(queue)
        if reading.is_empty:
            return True
        if reading.at_most is None and (fault := observer.fault_at(queue)) is not None:
            raise fault
        is_dead_letter_queue = queue == dead_letter_queue(taskqueue.queue_name)
        if taskqueue.is_being_emptied and is_dead_letter_queue and reading.at_most is not None:
            return False
        wait = Fault(Reason.NOT_EMPTY, why_not_empty(taskqueue, queue, reading))
        if not (reading.at_most or reading.deferred):
            raise wait
        raise await self._blocker(taskqueue, observer, wait, f"queue {queue} holds messages")

    async def _blocker(
        self, taskqueue: TaskQueue, observer: QueueObserver, wait: Fault, cause: str
    ) -> Fault | RetainTopology:
        """Return the wait; or that the topology is retained, if the workers are gone: then the wait might never end."""
        if await self.cluster.deployment(taskqueue.deployment_key) is not None:
            return wait
        await self._unfence(taskqueue, observer)
        return RetainTopology(f"{cause} and its workers are gone")

    async def _fence(self, taskqueue: TaskQueue, observer: QueueObserver) -> Topology:
        """Fence the queue; return what is on the broker then."""
        for _ in range(ROUNDS):
            actual = await self._actual(taskqueue, observer)
            try:
                steps = fence_steps(self._desired(taskqueue), actual, owner=self._owner(taskqueue))
            except TopologyFault:
                raise
            except Fault as fault:
                cause = f"publishers of queue {taskqueue.queue_name} cannot be refused"
                raise await self._blocker(taskqueue, observer, fault, cause) from None
            if not steps:
                return actual
            try:
                await self._apply(observer, steps)
            finally:  # without an answer too: the steps may have been applied
                for queue in self._desired(taskqueue).queues:
                    observer.discard_samples(queue)
        raise Fault(
            Reason.NOT_EMPTY,
            f'Deletion waits: another client restores the bindings of queue "{taskqueue.queue_name}". '
            "Find and stop it.",
        )

    async def _stop_workers(self, taskqueue: TaskQueue) -> None:
        """Scale to zero, and wait until the workers have finished their tasks; those of others are left alone."""
        if not taskqueue.owns_deployment:
            return
        async with self.states[taskqueue.key].write_lock:
            deployment = self.cache.deployments.get(taskqueue.key)
            if deployment is not None and deployment.owner_uid != taskqueue.uid:
                return  # neither it nor its pods belong to this TaskQueue
            if deployment is not None and deployment.replicas > 0:
                key, generation = taskqueue.key, deployment.generation
                body = await self.cluster.scale(key, replicas=0, taskqueue=key.name, generation=generation)
                self.cache.update_deployment(body)
                self.telemetry.wrote("replicas")
        remaining = sum(not pod.finished for pod in self.cache.pods(taskqueue.key))
        if remaining or (deployment is not None and deployment.current_replicas):
            raise Fault(Reason.DELETING, f"Deletion waits for {remaining or 'the last'} workers to finish their tasks.")

    async def _remove(self, taskqueue: TaskQueue, observer: QueueObserver, topology: Topology, *, fenced: bool) -> None:
        owner, actual = self._owner(taskqueue), await self._actual(taskqueue, observer)
        if fenced and fence_steps(topology, actual, owner=owner):
            raise Fault(Reason.DELETING, "Deletion waits: the fence that refuses publishers is incomplete again.")
        await self._apply(observer, removal_steps(topology, actual, owner=owner))
        if left := removal_steps(topology, await self._actual(taskqueue, observer), owner=owner):
            # Retried later, not at once: an object that was created again must be read again before it is deleted.
            raise Fault(Reason.DELETING, why_left(left))

    async def _actual(self, taskqueue: TaskQueue, observer: QueueObserver) -> Topology:
        """Read the topology; what the TaskQueue has adopted carries its owner."""
        actual = await self.topology.read(taskqueue, observer)
        if not taskqueue.adopts:
            return actual
        return with_adopted(self._desired(taskqueue), actual, owner=self._owner(taskqueue))

    def _log_kept(self, taskqueue: TaskQueue, removed: Topology) -> None:
        for queue in self._desired(taskqueue).queues.keys() - removed.queues.keys():
            log = structlog.get_logger("finalizer")
            log.warning("dead letters retained", taskqueue=str(taskqueue.key), queue=queue)

    async def _apply(self, observer: QueueObserver, steps: tuple[Step, ...]) -> None:
        if steps:
            await observer.vhost.apply(steps)
            self.telemetry.wrote("topology")

    def _desired(self, taskqueue: TaskQueue) -> Topology:
        return desired_topology(taskqueue, self.topology.installation)

    def _owner(self, taskqueue: TaskQueue) -> str:
        return self.topology.owner(taskqueue.key)
