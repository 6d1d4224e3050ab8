"""Why no worker starts, in words that lead to the mistake."""

from collections.abc import Iterable
from itertools import groupby
from operator import attrgetter

from taskqueue_operator.resource.faults import Reason, WorkersFault
from taskqueue_operator.resource.names import LABEL_NAME, WORKER_CONTAINER, Key

from .observed import IMAGE_FAULTS, Deployment, Pod


def trouble(taskqueue: Key, deployment: Deployment | None, pods: Iterable[Pod]) -> WorkersFault | None:
    """Find a template of which no pod is ready and some pod cannot run.

    Pods in trouble beside ready ones are no fault of the template: they come and go with nodes and registries.
    """
    if deployment is None or deployment.replicas == 0:
        return None
    live = sorted((pod for pod in pods if not (pod.deleting or pod.finished)), key=attrgetter("template_hash", "key"))
    for _, group in groupby(live, key=attrgetter("template_hash")):
        template = list(group)
        troubled = [pod for pod in template if pod.trouble]
        if troubled and not any(pod.ready for pod in template):
            return WorkersFault(Reason.WORKERS_FAILING, f"No worker has started: {_explain(taskqueue, troubled[0])}")
    return None


def _explain(taskqueue: Key, pod: Pod) -> str:
    where = (
        "spec.worker"
        if pod.container in {"", WORKER_CONTAINER}
        else f"container {pod.container} in spec.worker.podTemplate"
    )
    if pod.trouble in IMAGE_FAULTS:
        image = "spec.worker.image" if where == "spec.worker" else f"the image of {where}"
        return (
            f"{pod.trouble} of {pod.detail}. Correct {image}, or name the registry's credentials in "
            "spec.worker.podTemplate.spec.imagePullSecrets."
        )
    if pod.trouble == "CrashLoopBackOff":
        # By label, not by pod: the message stays the same while pods come and go.
        logs = f"kubectl -n {taskqueue.namespace} logs -l {LABEL_NAME}={taskqueue.name} -c {pod.container} --tail=50"
        return f"its container {pod.container} ends again and again ({pod.detail}). See: {logs}"
    if pod.trouble == "Unschedulable":
        return f"no node takes it: {_sentence(pod.detail)} Lower spec.worker.resources, or add nodes."
    return f"{pod.trouble}: {_sentence(pod.detail)} Correct {where}, or create what is missing."


def _sentence(text: str) -> str:
    return text.rstrip(". ") + "."
