"""The worker contract: what every worker's container is given, whatever its image.

Written down for authors of workers in `docs/worker-contract.md`.
"""

from collections.abc import Iterable
from typing import Any, Final

from taskqueue_operator.resource.faults import Reason, WorkersFault
from taskqueue_operator.resource.taskqueue import TaskQueue

CONTRACT: Final = "1"
PORT: Final = 8080
"""Where a worker answers /healthz, /readyz and /metrics."""

BINDING_ROOT: Final = "/bindings"
BINDING_PATH: Final = f"{BINDING_ROOT}/broker"
BINDING_VOLUME: Final = "broker-binding"

_PREFIX: Final = "TASKQUEUE_"
_USERS: Final = frozenset({"TASKQUEUE_MODULES"})
"""The part of the contract that is said by the image or by the user."""

_SOURCES: Final = {
    "TASKQUEUE_NAME": "metadata.name",
    "TASKQUEUE_QUEUES": "spec.queue.name",
    "TASKQUEUE_VHOST": "spec.broker.vhost",
    "TASKQUEUE_CONCURRENCY": "spec.worker.concurrency",
    "TASKQUEUE_PREFETCH": "spec.worker.prefetch",
    "TASKQUEUE_TASK_TIMEOUT_SECONDS": "spec.worker.taskTimeoutSeconds",
    "SERVICE_BINDING_ROOT": "spec.worker.secretRef",
}


def environment(taskqueue: TaskQueue) -> list[dict[str, Any]]:
    """Write the contract as environment variables, in a fixed order."""
    worker, vhost = taskqueue.spec.worker, taskqueue.spec.broker.vhost
    variables = {
        "TASKQUEUE_CONTRACT": CONTRACT,
        "TASKQUEUE_NAME": str(taskqueue.key),
        "TASKQUEUE_QUEUES": taskqueue.queue_name,
        "TASKQUEUE_CONCURRENCY": str(worker.concurrency),
        "TASKQUEUE_PREFETCH": str(worker.effective_prefetch),
        "TASKQUEUE_TASK_TIMEOUT_SECONDS": str(worker.task_timeout_seconds),
        **({"TASKQUEUE_VHOST": vhost} if vhost is not None else {}),
        "SERVICE_BINDING_ROOT": BINDING_ROOT,
    }
    # The kubelet expands $(NAME) in values and reads $$ as $; names of queues and vhosts may hold either.
    written = [{"name": name, "value": value.replace("$", "$$")} for name, value in variables.items()]
    # By it the operator knows which pod a report speaks of.
    return [*written, {"name": "TASKQUEUE_POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}]


def secret_name(taskqueue: TaskQueue) -> str:
    """Name the Secret that the workers use: their own, or that of the broker."""
    return (taskqueue.spec.worker.secret_ref or taskqueue.spec.broker.secret_ref).name


def binding(taskqueue: TaskQueue) -> dict[str, Any]:
    """Write the volume of the credentials; the kubelet refreshes it, so a rotation needs no rollout."""
    return {"name": BINDING_VOLUME, "secret": {"secretName": secret_name(taskqueue), "defaultMode": 0o440}}


def reserved(name: str, path: str) -> str | None:
    """Say why a user may not set the variable called `name` in the list at `path`; None if they may."""
    if name in _USERS or not (name.startswith(_PREFIX) or name in _SOURCES):
        return None
    where, source = f"{path}[name={name}]", _SOURCES.get(name)
    if source is None:
        return f"{where}: names that begin with {_PREFIX} are set by the operator. Rename or remove the variable."
    return f"{where} and {source} say the same. Remove the variable, and set {source}."


def refuse_reserved(names: Iterable[str], path: str) -> None:
    """Keep users from saying what the operator says.

    Raises:
        WorkersFault: A name in the list at `path` belongs to the contract.
    """
    for name in names:
        if message := reserved(name, path):
            raise WorkersFault(Reason.FIELD_CONFLICT, message, terminal=True)
