"""Keeps the Deployment of the workers as the spec asks, and never touches its number of replicas."""

from taskqueue_operator.control.cache import Cache
from taskqueue_operator.control.ports import Cluster
from taskqueue_operator.control.state import States
from taskqueue_operator.control.telemetry import Telemetry
from taskqueue_operator.resource.faults import Conflict, Reason, WorkersFault
from taskqueue_operator.resource.names import KIND, Key
from taskqueue_operator.resource.scaling import Mode
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.workers.api_objects import Deployment
from taskqueue_operator.workers.deployment import deployment as build
from taskqueue_operator.workers.template_hash import template_hash

from .credentials import secret_not_found


class DeploymentReconciler:
    """Applies the Deployment when it is missing or when the spec fields that feed it have changed, and only then."""

    def __init__(self, cache: Cache, states: States, cluster: Cluster, telemetry: Telemetry) -> None:
        self._cache = cache
        self._states = states
        self._cluster = cluster
        self._telemetry = telemetry

    async def deploy(self, taskqueue: TaskQueue) -> None:
        """Write the Deployment if it is not as asked.

        Raises:
            WorkersFault: Another Deployment has the name, or the API server refuses the template.
            Conflict: The Deployment has changed meanwhile; read again and decide again.
        """
        async with self._states[taskqueue.key].write_lock:
            there = await self._find(taskqueue)
            if there is not None and there.template_hash == template_hash(taskqueue):
                return
            manifest = (
                build(taskqueue, replicas=_initial(taskqueue))
                if there is None
                else build(taskqueue, replicas=there.replicas, resource_version=there.resource_version)
            )
            await self._require_secret(taskqueue)
            try:
                body = await self._cluster.apply_deployment(manifest)
            except Conflict:
                await self._look_again(taskqueue, there)
                raise
            self._cache.update_deployment(body)
            self._telemetry.wrote("deployment")

    async def _require_secret(self, taskqueue: TaskQueue) -> None:
        """Pods that wait for a Secret say so where nobody looks."""
        own = taskqueue.spec.worker.secret_ref
        if own is None:
            return
        secret = Key(taskqueue.key.namespace, own.name)
        if await self._cluster.secret(secret) is None:
            raise WorkersFault(Reason.SECRET_NOT_FOUND, secret_not_found(secret))

    async def _look_again(self, taskqueue: TaskQueue, there: Deployment | None) -> None:
        body = await self._cluster.deployment(taskqueue.key)
        if body is not None:
            self._cache.update_deployment(body)
        elif there is not None:
            self._cache.remove_deployment(taskqueue.key, there.uid)

    async def _find(self, taskqueue: TaskQueue) -> Deployment | None:
        there = self._cache.deployments.get(taskqueue.key)
        if there is None:
            # The watch shows only what carries our label, so a foreign Deployment of the name is seen by asking.
            body = await self._cluster.deployment(taskqueue.key)
            if body is None:
                return None
            there = Deployment.parse(body)
            _check_owner(there, taskqueue)
            self._cache.update_deployment(body)
        _check_owner(there, taskqueue)
        return there


def _check_owner(there: Deployment, taskqueue: TaskQueue) -> None:
    if there.owner_uid == taskqueue.uid and not there.deleting:
        return
    if there.owner_kind == KIND and there.owner_name == taskqueue.key.name:
        raise WorkersFault(
            Reason.PROGRESSING,
            f"Deployment {there.key} is still being removed, and will be made anew. Wait a moment.",
        )
    raise WorkersFault(
        Reason.DEPLOYMENT_CONFLICT,
        f"Deployment {there.key} exists and does not belong to this TaskQueue. Delete it "
        f"(kubectl -n {there.key.namespace} delete deployment {there.key.name}), or give the TaskQueue another name.",
        terminal=True,
    )


def _initial(taskqueue: TaskQueue) -> int:
    scaling = taskqueue.spec.scaling
    if scaling.mode is Mode.PAUSED and scaling.paused_replicas is not None:
        return scaling.paused_replicas
    return scaling.min_replicas
