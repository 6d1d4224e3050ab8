"""Finds the Deployment that a TaskQueue references, and whether the operator may scale it; writes nothing."""

from dataclasses import dataclass

from taskqueue_operator.control.cache import Cache
from taskqueue_operator.control.ports import Cluster
from taskqueue_operator.control.state import States
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.workers.api_objects import Deployment
from taskqueue_operator.workers.referenced import autoscaler_conflict, not_scaled

from .autoscalers import Autoscalers


@dataclass(frozen=True, slots=True)
class ReferencedDeployments:
    """Checks the Deployments of others."""

    cache: Cache
    states: States
    cluster: Cluster
    autoscalers: Autoscalers

    async def find(self, taskqueue: TaskQueue) -> None:
        """Find the Deployment.

        Raises:
            WorkersFault: It does not exist, or does not allow this TaskQueue to scale it.
            Fault: The API server cannot be used.
        """
        fault = not_scaled(taskqueue, await self._read(taskqueue))
        if fault is not None:
            raise fault

    async def find_autoscaler(self, taskqueue: TaskQueue) -> None:
        """Allow replicas to be written, unless another autoscaler writes them.

        Raises:
            WorkersFault: There is another autoscaler.
            Fault: The API server cannot be used.
        """
        state, deployment = self.states[taskqueue.key].reconcile, self.cache.deployment(taskqueue.key)
        autoscaler = await self.autoscalers.of(taskqueue.deployment_key)
        state.unshared_uid = deployment.uid if deployment is not None and not autoscaler else ""
        if autoscaler:
            raise autoscaler_conflict(taskqueue, autoscaler)

    async def _read(self, taskqueue: TaskQueue) -> Deployment | None:
        key = taskqueue.deployment_key
        if (deployment := self.cache.deployments.get(key)) is not None:
            return deployment
        # The watch shows only Deployments with the operator's label: one without it must be read.
        body = await self.cluster.deployment(key)
        if body is None:
            return None
        deployment = Deployment.parse(body)
        if deployment.serves(taskqueue):
            self.cache.update_deployment(body)
        return deployment
