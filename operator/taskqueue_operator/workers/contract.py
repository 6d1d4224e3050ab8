"""The worker contract: environment variables and volumes of every worker container, whatever its image.

`docs/worker-contract.md` describes it for authors of workers.
"""

from collections.abc import Iterable
from typing import Any, Final

from taskqueue_operator.resource.faults import Reason, WorkersFault
from taskqueue_operator.resource.retry import Backoff, BackoffType
from taskqueue_operator.resource.taskqueue import TaskQueue

CONTRACT: Final = "1"
PORT: Final = 8080
"""Port on which a worker serves /healthz, /readyz and /metrics."""

QUEUE_SEPARATOR: Final = ","
"""No name of a queue contains it (`resource/fields.py`)."""
BINDING_ROOT: Final = "/bindings"
BINDING_PATH: Final = f"{BINDING_ROOT}/broker"
BINDING_VOLUME: Final = "broker-binding"

_PREFIX: Final = "TASKQUEUE_"
_USER_VARIABLES: Final = frozenset({"TASKQUEUE_MODULES", "TASKQUEUE_LOG_LEVEL"})
"""Variables of the contract that the image or the user sets."""

_SOURCES: Final = {
    "TASKQUEUE_NAME": "metadata.name",
    "TASKQUEUE_QUEUES": "spec.queue.name",
    "TASKQUEUE_VHOST": "spec.broker.vhost",
    "TASKQUEUE_CONCURRENCY": "spec.worker.concurrency",
    "TASKQUEUE_PREFETCH": "spec.worker.prefetch",
    "TASKQUEUE_TASK_TIMEOUT_SECONDS": "spec.worker.taskTimeoutSeconds",
    "TASKQUEUE_MAX_ATTEMPTS": "spec.retry.maxAttempts",
    "TASKQUEUE_RETRY_TYPE": "spec.retry.backoff.type",
    "TASKQUEUE_RETRY_INITIAL_SECONDS": "spec.retry.backoff.initialSeconds",
    "TASKQUEUE_RETRY_MAX_SECONDS": "spec.retry.backoff.maxSeconds",
    "TASKQUEUE_DEAD_LETTER_EXCHANGE": "spec.deadLetter.exchange",
    "TASKQUEUE_DEAD_LETTER_ROUTING_KEY": "spec.deadLetter.routingKey",
    "SERVICE_BINDING_ROOT": "spec.worker.secretRef",
}
"""Field of the spec from which the operator derives a variable."""


def environment(taskqueue: TaskQueue) -> list[dict[str, Any]]:
    """Return the environment variables of the contract, in a fixed order."""
    worker, vhost = taskqueue.spec.worker, taskqueue.spec.broker.vhost
    variables = {
        "TASKQUEUE_CONTRACT": CONTRACT,
        "TASKQUEUE_NAME": str(taskqueue.key),
        "TASKQUEUE_QUEUES": QUEUE_SEPARATOR.join(taskqueue.queue_names),
        "TASKQUEUE_CONCURRENCY": str(worker.concurrency),
        "TASKQUEUE_PREFETCH": str(worker.prefetch or worker.concurrency),
        "TASKQUEUE_TASK_TIMEOUT_SECONDS": str(worker.task_timeout_seconds),
        "TASKQUEUE_MAX_ATTEMPTS": str(taskqueue.retry.max_attempts),
        **_retry_variables(taskqueue),
        **({"TASKQUEUE_VHOST": vhost} if vhost is not None else {}),
        **_dead_letter_variables(taskqueue),
        "SERVICE_BINDING_ROOT": BINDING_ROOT,
    }
    # The kubelet expands $(NAME) and replaces $$ by $; names of queues and vhosts may contain both.
    escaped = [{"name": name, "value": value.replace("$", "$$")} for name, value in variables.items()]
    # Identifies the pod in reports of the worker.
    return [*escaped, {"name": "TASKQUEUE_POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}]


def _retry_variables(taskqueue: TaskQueue) -> dict[str, str]:
    if taskqueue.broker_delays_retries:
        return {"TASKQUEUE_RETRY_TYPE": BackoffType.LINEAR.value}
    if not taskqueue.delays_retries:
        return {}
    backoff = taskqueue.retry.backoff or Backoff()
    return {
        "TASKQUEUE_RETRY_INITIAL_SECONDS": str(backoff.initial_seconds),
        "TASKQUEUE_RETRY_MAX_SECONDS": str(backoff.max_seconds),
    }


def _dead_letter_variables(taskqueue: TaskQueue) -> dict[str, str]:
    target = taskqueue.spec.dead_letter
    values = {
        "TASKQUEUE_DEAD_LETTER_EXCHANGE": target.exchange if target is not None else None,
        "TASKQUEUE_DEAD_LETTER_ROUTING_KEY": target.routing_key if target is not None else None,
    }
    if taskqueue.is_divided:  # the default is that of the queue that a task comes from
        (values["TASKQUEUE_DEAD_LETTER_ROUTING_KEY"],) = taskqueue.dead_letter_queues
    return {name: value for name, value in values.items() if value is not None}


def secret_name(taskqueue: TaskQueue) -> str:
    """Return the name of the Secret with the credentials of the workers."""
    return (taskqueue.spec.worker.secret_ref or taskqueue.spec.broker.secret_ref).name


def binding_volume(taskqueue: TaskQueue) -> dict[str, Any]:
    """Return the volume of the credentials. The kubelet updates it, so a rotation needs no rollout."""
    return {"name": BINDING_VOLUME, "secret": {"secretName": secret_name(taskqueue), "defaultMode": 0o440}}


def reserved_variable_message(name: str, path: str) -> str | None:
    """Return why the user must not set a variable; None if it is not reserved.

    Args:
        name: Name of the variable.
        path: Path of the list that contains it.
    """
    if name in _USER_VARIABLES or not (name.startswith(_PREFIX) or name in _SOURCES):
        return None
    field, source = f"{path}[name={name}]", _SOURCES.get(name)
    if source is None:
        return f"{field}: names that begin with {_PREFIX} are reserved for the operator. Rename or remove the variable."
    return f"{field} is set by the operator from {source}. Remove the variable, and set {source}."


def check_reserved_variables(names: Iterable[str], path: str) -> None:
    """Reject variables that are reserved for the operator.

    Raises:
        WorkersFault: A name in the list at `path` is reserved.
    """
    for name in names:
        if message := reserved_variable_message(name, path):
            raise WorkersFault(Reason.FIELD_CONFLICT, message, terminal=True)
