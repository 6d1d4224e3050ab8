"""Builds the manifest of the worker Deployment, for server-side apply."""

import hashlib
import json
from typing import Any, Final

from taskqueue_operator.resource.faults import Reason, WorkersFault
from taskqueue_operator.resource.names import (
    ANNOTATION_APPLIED,
    ANNOTATION_DIGEST,
    ANNOTATION_INTERIM,
    GROUP,
    KIND,
    LABEL_NAME,
    MANAGER,
    VERSION,
    WORKER_CONTAINER,
    interim_queue,
)
from taskqueue_operator.resource.quantity import QUANTITY_HINT, invalid_quantities
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.resource.worker import Protocol

from .contract import (
    BINDING_PATH,
    BINDING_VOLUME,
    PORT,
    binding_volume,
    check_reserved_variables,
    environment,
    reserved_variable_message,
)
from .pod_template import ROOT, leaves, merge
from .template_hash import template_hash

GRACE_MARGIN_SECONDS: Final = 30
"""Time that a worker has after the timeout of its last task: to settle it, requeue the rest and close."""

# The file mode of the credentials is 0440: only this group allows a user other than root to read them.
_GROUP_ID: Final = 65532
_CONTAINER: Final = f".spec.containers[name={WORKER_CONTAINER}]"


def deployment(taskqueue: TaskQueue, *, replicas: int, resource_version: str | None = None) -> dict[str, Any]:
    """Return the manifest.

    Args:
        taskqueue: The TaskQueue of the workers.
        replicas: The current value of the Deployment, or the initial one.
        resource_version: resourceVersion of the Deployment from which `replicas` was read; None if it does not exist.

    Raises:
        WorkersFault: The podTemplate is invalid, or conflicts with other fields.
    """
    manifest = _manifest(taskqueue)
    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:16]
    manifest["metadata"]["annotations"][ANNOTATION_APPLIED] = digest
    manifest["spec"]["replicas"] = replicas
    if resource_version is not None:
        manifest["metadata"]["resourceVersion"] = resource_version
    return manifest


def _manifest(taskqueue: TaskQueue) -> dict[str, Any]:
    """Return what follows from the spec alone."""
    key, labels = taskqueue.key, _labels(taskqueue)
    owner = {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, "name": key.name, "uid": taskqueue.uid}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": key.name,
            "namespace": key.namespace,
            "labels": labels,
            "annotations": _annotations(taskqueue),
            "ownerReferences": [owner | {"controller": True, "blockOwnerDeletion": True}],
        },
        "spec": {
            "revisionHistoryLimit": 3,
            "selector": {"matchLabels": {LABEL_NAME: key.name}},  # immutable, so only one label
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"}},
            "template": _template(taskqueue),
        },
    }


def _labels(taskqueue: TaskQueue) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "taskqueue-worker",
        "app.kubernetes.io/instance": taskqueue.key.name,
        "app.kubernetes.io/component": "worker",
        "app.kubernetes.io/managed-by": MANAGER,
        LABEL_NAME: taskqueue.key.name,
    }


def _annotations(taskqueue: TaskQueue) -> dict[str, str]:
    interim = {ANNOTATION_INTERIM: interim_queue(taskqueue.queue_name)} if taskqueue.is_migrating else {}
    return {ANNOTATION_DIGEST: template_hash(taskqueue), **interim}


def _template(taskqueue: TaskQueue) -> dict[str, Any]:
    worker = taskqueue.spec.worker
    own_names = [variable.name for variable in worker.env or ()]
    check_reserved_variables(own_names, "spec.worker.env")
    _check_quantities(worker.pod_template, "spec.worker.podTemplate")
    _check_quantities(worker.container_fields(), "spec.worker")
    metadata = {"labels": _labels(taskqueue), "annotations": _annotations(taskqueue)}
    base = {"metadata": metadata, "spec": _pod(taskqueue)}
    merged = merge(base, worker.pod_template or {}, _claims(taskqueue))
    container = next(item for item in merged["spec"]["containers"] if item["name"] == WORKER_CONTAINER)
    checked = {*own_names, *(variable["name"] for variable in environment(taskqueue))}
    added = (str(variable["name"]) for variable in container["env"] if variable["name"] not in checked)
    check_reserved_variables(added, _template_path(".env"))
    return merged


def _check_quantities(template: object, path: str) -> None:
    # The API server refuses the manifest without naming the field.
    for field, text in invalid_quantities(template, path):
        message = f'{field}: "{text}" is not a quantity. {QUANTITY_HINT}'
        raise WorkersFault(Reason.POD_TEMPLATE_INVALID, message, terminal=True)


def _pod(taskqueue: TaskQueue) -> dict[str, Any]:
    return {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": taskqueue.spec.worker.task_timeout_seconds + GRACE_MARGIN_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "fsGroup": _GROUP_ID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(taskqueue)],
        "volumes": [binding_volume(taskqueue), {"name": "tmp", "emptyDir": {}}],
    }


def _container(taskqueue: TaskQueue) -> dict[str, Any]:
    fields = taskqueue.spec.worker.container_fields()
    # Variables of the contract come first, so that variables of the user can refer to them: $(TASKQUEUE_NAME).
    env = [*environment(taskqueue), *fields.pop("env", ())]
    return {
        "name": WORKER_CONTAINER,
        **fields,
        "env": env,
        # So the status of a pod shows why its container ended, also to the operator.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **(_probes() if taskqueue.spec.worker.protocol is Protocol.TASK_QUEUE else {}),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": BINDING_VOLUME, "mountPath": BINDING_PATH, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  a path inside the container, on a volume of its own
        ],
    }


def _probes() -> dict[str, Any]:
    """Return port and probes of a worker of protocol TaskQueue; a Plain worker has no endpoints."""
    return {
        "ports": [{"name": "http", "containerPort": PORT}],
        # Restart only after two minutes without an answer: a handler may block the event loop for a while.
        "livenessProbe": _probe("/healthz", periodSeconds=20, timeoutSeconds=10, failureThreshold=6),
        "readinessProbe": _probe("/readyz", periodSeconds=5, timeoutSeconds=5, failureThreshold=3),
        # Every second, so that a worker is ready without delay; up to five minutes for slow imports.
        "startupProbe": _probe("/healthz", periodSeconds=1, timeoutSeconds=5, failureThreshold=300),
    }


def _probe(path: str, **thresholds: int) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": PORT}, **thresholds}


def _claims(taskqueue: TaskQueue) -> dict[str, str]:
    """Return the paths that a podTemplate must not set, because spec.worker or the operator sets them."""
    claims = {
        ".spec.terminationGracePeriodSeconds": "follows from spec.worker.taskTimeoutSeconds. "
        "Remove it, and set taskTimeoutSeconds.",
        ".spec.restartPolicy": "must be Always in a Deployment. Remove it.",
        f".metadata.labels[{LABEL_NAME}]": "is set by the operator to select the pods of the TaskQueue. Remove it.",
        f".metadata.annotations[{ANNOTATION_DIGEST}]": "is set by the operator to identify "
        "the version of spec.worker. Remove it.",
        f".spec.volumes[name={BINDING_VOLUME}]": "is the volume of the broker Secret. Rename your volume; "
        "to use another Secret, set spec.worker.secretRef.",
        f".metadata.annotations[{ANNOTATION_INTERIM}]": "is set by the operator during a migration. Remove it.",
        f"{_CONTAINER}.volumeMounts[mountPath={BINDING_PATH}]": "is the mount path of the credentials. "
        "Use another mount path; to use another Secret, set spec.worker.secretRef.",
    }
    messages = {path: f"{ROOT}{path} {why}" for path, why in claims.items()}
    for variable in environment(taskqueue):
        path = f".env[name={variable['name']}]"
        messages[_CONTAINER + path] = reserved_variable_message(variable["name"], _template_path(".env")) or ""
    for name in leaves(taskqueue.spec.worker.container_fields(), ""):
        messages[_CONTAINER + name] = f"spec.worker{name} and {_template_path(name)} are both set. Remove one of them."
    return messages


def _template_path(field: str) -> str:
    return f"{ROOT}{_CONTAINER}{field}"
