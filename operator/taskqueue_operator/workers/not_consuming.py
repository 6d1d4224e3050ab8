"""Workers that start and do not consume: no container fails, and yet nothing is done."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final

from taskqueue_operator.resource.faults import Reason, WorkersFault
from taskqueue_operator.resource.names import LABEL_NAME, WORKER_CONTAINER, quoted
from taskqueue_operator.resource.taskqueue import TaskQueue

from .api_objects import Deployment, Pod
from .contract import secret_name

CONSUMING_WITHIN: Final = timedelta(minutes=3)
"""How long messages may wait without a worker that consumes: longer than an image usually takes to be pulled."""


def has_no_consumer(deployment: Deployment, pods: Iterable[Pod], unconsumed: Sequence[str]) -> bool:
    """Whether there should be workers and none consumes.

    Args:
        deployment: The Deployment of the workers.
        pods: Its pods. A worker of protocol TaskQueue is ready if it consumes.
        unconsumed: Queues in which messages wait and for which the broker shows no consumer.
    """
    return deployment.replicas > 0 and (bool(unconsumed) or not any(pod.ready for pod in pods if pod.is_active))


def not_consuming(taskqueue: TaskQueue, pods: Iterable[Pod], unconsumed: Sequence[str]) -> WorkersFault:
    """Return the fault: what pods and broker show, and where to look. It names no numbers that change."""
    active = [pod for pod in pods if pod.is_active]
    waiting = sorted({pod.waiting for pod in active if pod.waiting})
    minutes = CONSUMING_WITHIN // timedelta(minutes=1)
    text = [f"Messages wait, and no worker has consumed them for {minutes} minutes."]
    if not active:
        text.append("The Deployment has no pods.")
    if waiting:
        text.append(f"Containers wait: {', '.join(waiting)}.")
    if any(not (pod.waiting or pod.ready) for pod in active):
        text.append("Pods are not ready.")
    if unconsumed:
        text.append(f"RabbitMQ shows no consumer of {quoted(unconsumed)}.")
    return WorkersFault(Reason.WORKERS_NOT_CONSUMING, " ".join((*text, _way_out(taskqueue, has_waiting=bool(waiting)))))


def _way_out(taskqueue: TaskQueue, *, has_waiting: bool) -> str:
    key = taskqueue.key
    label, owned = f"-l {LABEL_NAME}={key.name}", taskqueue.owns_deployment
    template = "spec.worker.podTemplate" if owned else f"Deployment {taskqueue.deployment_key}"
    container = f"-c {WORKER_CONTAINER}" if owned else "--all-containers"
    credentials = f'in Secret "{secret_name(taskqueue)}"' if owned else "of the workers"
    if has_waiting:
        return (
            f"Check that the volumes of {template}, and the ConfigMaps and Secrets in them, exist: "
            f"kubectl -n {key.namespace} describe pods {label}"
        )
    return (
        f"Check the credentials {credentials}, and that pods can resolve and reach RabbitMQ: "
        f"kubectl -n {key.namespace} logs {label} {container} --tail=50"
    )
