"""The stages of a reconcile, in order: finalizer, broker, topology, workers. A later stage needs the earlier ones."""

from collections.abc import Awaitable
from dataclasses import dataclass

from taskqueue_operator.control.cache import Cache
from taskqueue_operator.control.ports import Cluster
from taskqueue_operator.control.telemetry import Telemetry
from taskqueue_operator.resource.broker import DeletionPolicy
from taskqueue_operator.resource.conditions import ConditionType
from taskqueue_operator.resource.faults import BrokerFault, Fault, Reason
from taskqueue_operator.resource.names import FINALIZER
from taskqueue_operator.resource.queue import SettingsBy
from taskqueue_operator.resource.retry import DeadLetter
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.scaling.policy import Policy
from taskqueue_operator.scaling.schedule import schedule_error
from taskqueue_operator.topology.consumer_timeout import DEFAULT_SECONDS

from .connection import BrokerConnector
from .deployment import DeploymentReconciler
from .referenced_deployment import ReferencedDeployments
from .topology import TopologyReconciler

Faults = dict[ConditionType, Fault]


@dataclass(frozen=True, slots=True)
class Stages:
    """Runs the stages of a TaskQueue that is not being deleted."""

    cache: Cache
    cluster: Cluster
    connector: BrokerConnector
    topology: TopologyReconciler
    deployment: DeploymentReconciler
    referenced: ReferencedDeployments
    telemetry: Telemetry

    async def run(self, taskqueue: TaskQueue) -> Faults:
        """Run all stages once and return the faults that they met.

        Raises:
            Fault: The API server cannot be used.
            Conflict: An object has changed since it was read.
        """
        await self._keep_finalizer(taskqueue)
        faults: Faults = {}
        connect = self.connector.connect(taskqueue)
        if await _stage(faults, ConditionType.BROKER_REACHABLE, connect):
            await _stage(faults, ConditionType.TOPOLOGY_READY, self.topology.reconcile(taskqueue))
            self.connector.follow(taskqueue)
        if not taskqueue.owns_deployment:
            faults |= await self.find_workers(taskqueue)
        # Workers are created once the queue exists.
        elif (
            self._can_do_without(taskqueue, faults) if faults else self.topology.migrations.has_declared(taskqueue.key)
        ):
            of_workers = self.topology.migrations.of_workers(taskqueue)
            await _stage(faults, ConditionType.WORKERS_AVAILABLE, self.deployment.reconcile(of_workers))
        invalid = next(filter(None, map(schedule_error, Policy.of(taskqueue).schedules)), None)
        return faults if invalid is None else {ConditionType.SCALING_ACTIVE: invalid} | faults

    async def find_workers(self, taskqueue: TaskQueue) -> Faults:
        """Find the Deployment of others that a TaskQueue references, and whether it may be scaled."""
        faults: Faults = {}
        if await _stage(faults, ConditionType.WORKERS_AVAILABLE, self.referenced.find(taskqueue)):
            await _stage(faults, ConditionType.SCALING_ACTIVE, self.referenced.find_autoscaler(taskqueue))
        return faults

    def _can_do_without(self, taskqueue: TaskQueue, faults: Faults) -> bool:
        """Whether the Deployment is reconciled although an earlier stage has failed.

        A fallback needs workers for a queue that cannot be read, and some workers declare their external queue
        themselves. Existing workers are replaced only if the new ones need no policy, since none can be written now:
        without one, messages would be taken from them after the default timeout, or return without a delay.
        """
        if (deployment := self.cache.deployment(taskqueue.key)) is not None:
            if deployment.interim_queue:  # which queues they are to consume follows from the topology
                return False
            return taskqueue.hold_seconds <= DEFAULT_SECONDS and not taskqueue.broker_delays_retries
        if ConditionType.BROKER_REACHABLE in faults:
            return taskqueue.spec.scaling.fallback is not None
        return faults[ConditionType.TOPOLOGY_READY].reason is Reason.QUEUE_NOT_FOUND

    async def _keep_finalizer(self, taskqueue: TaskQueue) -> None:
        """Set the finalizer exactly while a deletion would have something to delete."""
        others = [finalizer for finalizer in taskqueue.finalizers if finalizer != FINALIZER]
        desired = [*others, FINALIZER] if self._leaves_something(taskqueue) else others
        if set(desired) == set(taskqueue.finalizers):
            return
        body = await self.cluster.set_finalizers(taskqueue.key, desired, resource_version=taskqueue.resource_version)
        self.telemetry.wrote("finalizer")
        if body is not None:
            self.cache.update_taskqueue(body)

    def _leaves_something(self, taskqueue: TaskQueue) -> bool:
        """Whether a deletion has objects to remove: with Retain, only policies and those of a migration."""
        if taskqueue.spec.deletion_policy is not DeletionPolicy.RETAIN:
            return True
        spec = taskqueue.spec
        needs_policy = (
            taskqueue.hold_seconds > DEFAULT_SECONDS
            or (spec.dead_letter or DeadLetter()).is_limited
            or taskqueue.broker_delays_retries
            or self.topology.migrations.has_interim(taskqueue.key)
            or taskqueue.queue.needs_policy
            or taskqueue.queue.settings_by is SettingsBy.POLICY
        )
        return not taskqueue.queue.external and (needs_policy or self.topology.has_policy(taskqueue.key))


async def _stage(faults: Faults, stage: ConditionType, work: Awaitable[object]) -> bool:
    try:
        await work
    except BrokerFault as fault:
        faults[ConditionType.BROKER_REACHABLE] = fault
        return False
    except Fault as fault:
        faults[stage] = fault
        return False
    return True
