"""The Deployment of a TaskQueue's workers: one manifest, for server-side apply."""

from typing import Any, Final

from taskqueue_operator.resource.names import (
    ANNOTATION_DIGEST,
    GROUP,
    KIND,
    LABEL_NAME,
    MANAGER,
    VERSION,
    WORKER_CONTAINER,
)
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.resource.worker import Protocol

from .contract import BINDING_PATH, BINDING_VOLUME, PORT, binding, environment, refuse_reserved, reserved
from .pod_template import ROOT, leaves, merge
from .template_hash import digest

GRACE_MARGIN_SECONDS: Final = 30
"""What a worker has left after its last task's timeout: to settle it, hand the rest back and close."""

# The file mode of the credentials is 0440: this group is what lets a user other than root read them.
_GROUP_ID: Final = 65532
_CONTAINER: Final = f".spec.containers[name={WORKER_CONTAINER}]"


def deployment(taskqueue: TaskQueue, *, replicas: int, resource_version: str | None = None) -> dict[str, Any]:
    """Build the manifest.

    Args:
        taskqueue: Whose workers.
        replicas: What is asked for now: the live value, or the first one.
        resource_version: Of the Deployment that `replicas` was read from; None when there is none yet.

    Raises:
        WorkersFault: The podTemplate does not go together with the other fields, or is none.
    """
    key, labels = taskqueue.key, _labels(taskqueue)
    owner = {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, "name": key.name, "uid": taskqueue.uid}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": key.name,
            "namespace": key.namespace,
            **({"resourceVersion": resource_version} if resource_version is not None else {}),
            "labels": labels,
            "annotations": {ANNOTATION_DIGEST: digest(taskqueue)},
            "ownerReferences": [owner | {"controller": True, "blockOwnerDeletion": True}],
        },
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 3,
            "selector": {"matchLabels": {LABEL_NAME: key.name}},  # can never change: keep it to one label
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


def _template(taskqueue: TaskQueue) -> dict[str, Any]:
    worker = taskqueue.spec.worker
    mine = [variable.name for variable in worker.env or ()]
    refuse_reserved(mine, "spec.worker.env")
    metadata = {"labels": _labels(taskqueue), "annotations": {ANNOTATION_DIGEST: digest(taskqueue)}}
    generated = {"metadata": metadata, "spec": _pod(taskqueue)}
    merged = merge(generated, worker.pod_template or {}, _claims(taskqueue))
    container = next(each for each in merged["spec"]["containers"] if each["name"] == WORKER_CONTAINER)
    known = {*mine, *(variable["name"] for variable in environment(taskqueue))}
    refuse_reserved((str(each["name"]) for each in container["env"] if each["name"] not in known), _theirs(".env"))
    return merged


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
        "volumes": [binding(taskqueue), {"name": "tmp", "emptyDir": {}}],
    }


def _container(taskqueue: TaskQueue) -> dict[str, Any]:
    fields = taskqueue.spec.worker.container_fields()
    # Ours come first, so that a variable of the user's may refer to them: $(TASKQUEUE_NAME).
    env = [*environment(taskqueue), *fields.pop("env", ())]
    return {
        "name": WORKER_CONTAINER,
        **fields,
        "env": env,
        **(_endpoints() if taskqueue.spec.worker.protocol is Protocol.TASK_QUEUE else {}),
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


def _endpoints() -> dict[str, Any]:
    """Ask a worker how it is; one that is Plain has nothing that would answer."""
    return {
        "ports": [{"name": "http", "containerPort": PORT}],
        # A handler that blocks the loop for a while is no reason to kill its task: two minutes without an answer are.
        "livenessProbe": _probe("/healthz", periodSeconds=20, timeoutSeconds=10, failureThreshold=6),
        "readinessProbe": _probe("/readyz", periodSeconds=5, timeoutSeconds=5, failureThreshold=3),
        # Every second, so that a worker counts as soon as it is there; up to five minutes for heavy imports.
        "startupProbe": _probe("/healthz", periodSeconds=1, timeoutSeconds=5, failureThreshold=300),
    }


def _probe(path: str, **thresholds: int) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": PORT}, **thresholds}


def _claims(taskqueue: TaskQueue) -> dict[str, str]:
    """List what a podTemplate may not set: what spec.worker sets already, and what the operator lives on."""
    claims = {
        ".spec.terminationGracePeriodSeconds": "follows from spec.worker.taskTimeoutSeconds. "
        "Remove it, and set taskTimeoutSeconds.",
        ".spec.restartPolicy": "is always Always in a Deployment. Remove it.",
        f".metadata.labels[{LABEL_NAME}]": "ties the pods to their TaskQueue. Remove it.",
        f".metadata.annotations[{ANNOTATION_DIGEST}]": "tells which version of spec.worker a pod runs. Remove it.",
        f".spec.volumes[name={BINDING_VOLUME}]": "is the volume of the broker's Secret. Rename yours; "
        "to use another Secret, set spec.worker.secretRef.",
        f"{_CONTAINER}.volumeMounts[mountPath={BINDING_PATH}]": "is where the worker reads its credentials. "
        "Mount yours elsewhere; to use another Secret, set spec.worker.secretRef.",
    }
    messages = {path: f"{ROOT}{path} {why}" for path, why in claims.items()}
    for variable in environment(taskqueue):
        path = f".env[name={variable['name']}]"
        messages[_CONTAINER + path] = reserved(variable["name"], _theirs(".env")) or ""
    for name in leaves(taskqueue.spec.worker.container_fields(), ""):
        messages[_CONTAINER + name] = f"spec.worker{name} and {_theirs(name)} are both set. Keep one of them."
    return messages


def _theirs(field: str) -> str:
    return f"{ROOT}{_CONTAINER}{field}"
