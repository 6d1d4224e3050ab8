"""A Deployment of others: why the operator does not scale it, and what keeps its workers from being safe."""

from collections.abc import Iterator
from typing import Final

from taskqueue_operator.resource.faults import Fault, Reason, WorkersFault, excerpt
from taskqueue_operator.resource.names import KIND, LABEL_NAME
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.resource.worker import Protocol

from .api_objects import Deployment
from .contract import environment
from .deployment import GRACE_MARGIN_SECONDS
from .worker_template import NAME, POD_UID, READINESS_PATH, WorkerTemplate

PAGE: Final = "docs/existing-deployments.md"
NOT_SCALED: Final = frozenset({Reason.DEPLOYMENT_NOT_FOUND, Reason.DEPLOYMENT_NOT_LABELED, Reason.TARGET_CONFLICT})
"""Reasons for which the operator writes nothing to a Deployment of others."""
_NEEDED: Final = (NAME, "TASKQUEUE_POD_UID", "TASKQUEUE_TASK_TIMEOUT_SECONDS")
"""Variables without which a worker cannot keep the control protocol as the TaskQueue says."""


def not_scaled(taskqueue: TaskQueue, deployment: Deployment | None) -> WorkersFault | None:
    """Return why a referenced Deployment is not scaled; None if both its labels name the TaskQueue."""
    key, label = taskqueue.deployment_key, f"{LABEL_NAME}: {taskqueue.key.name}"
    if deployment is None:
        return WorkersFault(
            Reason.DEPLOYMENT_NOT_FOUND,
            f"Deployment {key} of spec.worker.deploymentRef does not exist. Create it with label {label}, or correct "
            "the name. It is scaled as soon as it exists.",
        )
    if deployment.template is None:
        return _conflict(
            f"Deployment {key} belongs to {KIND} {excerpt(deployment.owner_name)}, whose operator scales it. Set "
            "spec.worker.deploymentRef to a Deployment of your own."
        )
    named = {deployment.taskqueue, deployment.template.taskqueue} - {"", taskqueue.key.name}
    if named:
        return _conflict(
            f"A label {LABEL_NAME} of Deployment {key} names another {KIND}, {excerpt(min(named))}: one Deployment has "
            f"one {KIND}. Correct the label in metadata and in spec.template.metadata, or spec.worker.deploymentRef."
        )
    labels = {"metadata": deployment.taskqueue, "spec.template.metadata": deployment.template.taskqueue}
    missing = [f"{path}.labels" for path, name in labels.items() if not name]
    if not missing:
        return None
    return WorkersFault(
        Reason.DEPLOYMENT_NOT_LABELED,
        f"Deployment {key} does not allow this {KIND} to scale it. Add {label} to {' and to '.join(missing)} of the "
        f"Deployment; its selector stays as it is ({PAGE}).",
    )


def autoscaler_conflict(taskqueue: TaskQueue, autoscaler: str) -> WorkersFault:
    """Return that a HorizontalPodAutoscaler scales the same Deployment."""
    key = taskqueue.deployment_key
    return _conflict(
        f"HorizontalPodAutoscaler {excerpt(autoscaler)} scales Deployment {key} too, so the operator does not. Delete "
        f"it, or the ScaledObject that created it, for example: kubectl -n {key.namespace} delete hpa "
        f"{excerpt(autoscaler)} ({PAGE})."
    )


def environment_missing(taskqueue: TaskQueue, deployment: Deployment) -> Fault | None:
    """Return which variables the workers lack to be drained; None if they have all, or need none."""
    template = deployment.template
    if template is None or taskqueue.spec.worker.protocol is not Protocol.TASK_QUEUE:
        return None
    lacking = ", ".join(_lacking(taskqueue, template))
    if not lacking:
        return None
    return Fault(
        Reason.ENVIRONMENT_MISSING,
        f"The number of workers follows the queue upwards only: container {template.container} of Deployment "
        f"{deployment.key} does not have {lacking}. Without it, no worker can be drained. Add it to the variables of "
        f"the container ({PAGE}).",
    )


def unsafe(taskqueue: TaskQueue, deployment: Deployment) -> Fault | None:
    """Return what keeps workers from ending in good order; None if nothing does, or the operator wrote the template."""
    template = deployment.template
    dangers = "; ".join(_dangers(taskqueue, template)) if template is not None else ""
    if not dangers:
        return None
    return Fault(
        Reason.DEPLOYMENT_UNSAFE,
        f"The number of workers follows the queue. In Deployment {deployment.key}, {dangers} ({PAGE}).",
    )


def _lacking(taskqueue: TaskQueue, template: WorkerTemplate) -> Iterator[str]:
    return (
        f"{name} ({_shown(value)})" for name, value in _needed(taskqueue).items() if not _has(template, name, value)
    )


def _has(template: WorkerTemplate, name: str, value: str) -> bool:
    is_set = any(name == known for known, _ in template.variables)
    return (name, value) in template.variables or (not is_set and template.has_other_variables)


def _needed(taskqueue: TaskQueue) -> dict[str, str]:
    values = {variable["name"]: variable.get("value", POD_UID) for variable in environment(taskqueue)}
    return {name: values[name] for name in _NEEDED}


def _shown(value: str) -> str:
    return f"valueFrom.fieldRef.fieldPath: {value}" if value == POD_UID else f'value: "{value}"'


def _dangers(taskqueue: TaskQueue, template: WorkerTemplate) -> Iterator[str]:
    timeout = taskqueue.spec.worker.task_timeout_seconds
    if template.grace_seconds < timeout + GRACE_MARGIN_SECONDS:
        yield (
            f"terminationGracePeriodSeconds ({template.grace_seconds}) is less than spec.worker.taskTimeoutSeconds of "
            f"the TaskQueue and {GRACE_MARGIN_SECONDS} s: a rollout or a node drain may kill tasks. Set it to "
            f"{timeout + GRACE_MARGIN_SECONDS}"
        )
    if template.min_ready_seconds:
        yield (
            f"minReadySeconds ({template.min_ready_seconds}) makes each rollout longer, and no worker is removed "
            "during a rollout. Remove it"
        )
    if template.recreates:
        yield "strategy Recreate ends all workers before new ones start. Set type: RollingUpdate"
    if taskqueue.spec.worker.protocol is Protocol.TASK_QUEUE and not template.has_readiness:
        yield (
            f"container {template.container} has no readinessProbe on {READINESS_PATH}: the ReplicaSet takes workers "
            "that do not consume for working ones. Add it"
        )


def _conflict(message: str) -> WorkersFault:
    return WorkersFault(Reason.TARGET_CONFLICT, message, terminal=True)
