"""Keeps the Deployment of the workers as the spec requires; never changes its number of replicas."""

from dataclasses import dataclass
from typing import Any

import structlog

from taskqueue_operator.control.cache import Cache
from taskqueue_operator.control.clock import Clock
from taskqueue_operator.control.ports import Cluster
from taskqueue_operator.control.state import States
from taskqueue_operator.control.telemetry import Telemetry
from taskqueue_operator.resource.faults import Conflict, Reason, WorkersFault
from taskqueue_operator.resource.names import KIND, Key
from taskqueue_operator.resource.scaling import Mode
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.workers.api_objects import Deployment
from taskqueue_operator.workers.deployment import deployment as build_manifest
from taskqueue_operator.workers.ownership import lost_fields
from taskqueue_operator.workers.pod_security import PodLimits, check_pod_template
from taskqueue_operator.workers.template_hash import template_hash

from .credentials import secret_not_found
from .restoration import next_restoration, taken_fields

_log = structlog.get_logger("reconcile")


@dataclass(frozen=True, slots=True)
class DeploymentReconciler:
    """Applies the Deployment if it is missing, differs from the spec, or was changed by another client; only then."""

    cache: Cache
    states: States
    cluster: Cluster
    telemetry: Telemetry
    clock: Clock
    limits: PodLimits

    async def reconcile(self, taskqueue: TaskQueue) -> None:
        """Write the Deployment if it differs from the spec.

        Raises:
            WorkersFault: Another Deployment has the name, the API server or the limits refuse the template, or another
                client changes the Deployment again and again.
            Conflict: The Deployment has changed meanwhile; the cache has the new one.
        """
        # Also for a Deployment that is up to date: the limits may be stricter than when it was applied.
        check_pod_template(taskqueue.spec.worker.pod_template, self.limits)
        async with self.states[taskqueue.key].write_lock:
            deployment = await self._find(taskqueue)
            manifest = (
                build_manifest(taskqueue, replicas=_initial_replicas(taskqueue))
                if deployment is None
                else build_manifest(
                    taskqueue, replicas=deployment.replicas, resource_version=deployment.resource_version
                )
            )
            state, restoration = self.states[taskqueue.key].reconcile, None
            if deployment is not None and deployment.template_hash == template_hash(taskqueue):
                taken = taken_fields(manifest, deployment, state)
                if not taken:
                    return
                restoration = next_restoration(deployment, taken, state.restoration, self.clock())
            await self._apply(taskqueue, deployment, manifest)
            if restoration is not None:
                state.restoration = restoration
                _log.warning("deployment restored", taskqueue=str(taskqueue.key), detail=restoration.message)

    async def _apply(self, taskqueue: TaskQueue, deployment: Deployment | None, manifest: dict[str, Any]) -> None:
        await self._require_secret(taskqueue)
        try:
            body = await self.cluster.apply_deployment(manifest)
        except Conflict:
            await self._refresh(taskqueue, deployment)
            raise
        self.cache.update_deployment(body)
        self.telemetry.wrote("deployment")
        applied = Deployment.parse(body)
        unowned = lost_fields(manifest, applied.field_owners) if applied.field_owners else {}
        self.states[taskqueue.key].reconcile.unowned_fields = frozenset(unowned)

    async def _require_secret(self, taskqueue: TaskQueue) -> None:
        """Check the workers' own Secret: a pod that waits for a missing Secret shows it in its events only."""
        reference = taskqueue.spec.worker.secret_ref
        if reference is None:
            return
        secret = Key(taskqueue.key.namespace, reference.name)
        if await self.cluster.secret(secret) is None:
            raise WorkersFault(Reason.SECRET_NOT_FOUND, secret_not_found(secret))

    async def _refresh(self, taskqueue: TaskQueue, deployment: Deployment | None) -> None:
        body = await self.cluster.deployment(taskqueue.key)
        if body is not None:
            self.cache.update_deployment(body)
        elif deployment is not None:
            self.cache.remove_deployment(taskqueue.key, deployment.uid)

    async def _find(self, taskqueue: TaskQueue) -> Deployment | None:
        deployment = self.cache.deployments.get(taskqueue.key)
        if deployment is None:
            # The watch shows only Deployments with the operator's label: a foreign one must be read.
            body = await self.cluster.deployment(taskqueue.key)
            if body is None:
                return None
            deployment = Deployment.parse(body)
            _check_owner(deployment, taskqueue)
            self.cache.update_deployment(body)
        _check_owner(deployment, taskqueue)
        return deployment


def _check_owner(deployment: Deployment, taskqueue: TaskQueue) -> None:
    if deployment.owner_uid == taskqueue.uid and not deployment.deleting:
        return
    if deployment.owner_kind == KIND and deployment.owner_name == taskqueue.key.name:
        raise WorkersFault(
            Reason.PROGRESSING,
            f"Deployment {deployment.key} is still being deleted, and will be created again. Wait a moment.",
        )
    raise WorkersFault(
        Reason.DEPLOYMENT_CONFLICT,
        f"Deployment {deployment.key} exists and does not belong to this TaskQueue. Delete it "
        f"(kubectl -n {deployment.key.namespace} delete deployment {deployment.key.name}), "
        "or give the TaskQueue another name.",
        terminal=True,
    )


def _initial_replicas(taskqueue: TaskQueue) -> int:
    scaling = taskqueue.spec.scaling
    if scaling.mode is Mode.PAUSED and scaling.paused_replicas is not None:
        return scaling.paused_replicas
    return scaling.min_replicas
