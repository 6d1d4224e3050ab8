"""Why workers do not start: briefly for the explanation of a decision, and with a fix for the status."""

import re
from collections.abc import Collection, Iterable, Iterator
from typing import Final, NamedTuple

from taskqueue_operator.resource.faults import Reason, WorkersFault, excerpt
from taskqueue_operator.resource.names import LABEL_NAME, WORKER_CONTAINER

from .api_objects import Deployment, Pod
from .pod_problem import CRASH_LOOP, IMAGE_FAULTS, UNSCHEDULABLE, PodProblem

_QUOTA: Final = re.compile(r"exceeded quota: ([^,]+), (.+)", re.DOTALL)


class _Cause(NamedTuple):
    reason: Reason
    text: str
    fix: str
    is_explained: bool = False


def scale_out_blocker(deployment: Deployment, pods: Iterable[Pod], *, started: bool) -> WorkersFault | None:
    """Return why additional workers would not start; the message completes "limited to 3: " in an explanation.

    Args:
        deployment: The worker Deployment.
        pods: Its pods. Only pods of the current template count.
        started: Whether a worker of this template was ever ready. If not, a few workers try it. If so, failing workers
            do not block: the cause is not the template, but for example a node or a registry.
    """
    current = _current_pods(deployment, pods)
    started = started or any(pod.ready for pod in current)
    for cause in _causes(deployment, current):
        if cause.reason is not Reason.WORKERS_FAILING:
            return WorkersFault(cause.reason, cause.text)
        if not started:
            return WorkersFault(cause.reason, f"no worker of this version has been ready ({cause.text})")
    return None if started else WorkersFault(Reason.WORKERS_STARTING, "no worker of this version has been ready yet")


def unavailable_reason(
    deployment: Deployment | None, pods: Iterable[Pod], *, started: bool = False, queues: Collection[str] = ()
) -> WorkersFault | None:
    """Return why no worker of the current template is ready, and how to fix it; None if one is ready or none failed.

    Args:
        deployment: The worker Deployment.
        pods: Its pods.
        started: Whether a worker of this template was ever ready, or has consumed: then what it ran may have ended it.
        queues: Names of the queues of the TaskQueue, of which a worker may have declared one in vain.
    """
    if deployment is None:
        return None
    pods = list(pods)
    current = _current_pods(deployment, pods)
    cause = next(_causes(deployment, current, queues), None)
    if cause is None or any(pod.ready for pod in current):
        return None
    if any(pod.ready and pod.is_active for pod in pods):
        what = "No worker of this version is ready; workers of the former version go on"
    else:
        what = "No worker is ready"
    if started and cause.text.startswith(CRASH_LOOP) and not cause.is_explained:
        text = f"workers start, and end again while they run, perhaps because of a task ({cause.text})"
        return WorkersFault(cause.reason, f"{what}: {text}. {cause.fix} --previous")
    return WorkersFault(cause.reason, f"{what}: {cause.text}. {cause.fix}")


def _current_pods(deployment: Deployment, pods: Iterable[Pod]) -> list[Pod]:
    return [pod for pod in pods if pod.template_hash == deployment.template_hash and not (pod.deleting or pod.finished)]


def _causes(deployment: Deployment, pods: Iterable[Pod], queues: Collection[str] = ()) -> Iterator[_Cause]:
    """List all causes; first those that only a change of the spec can fix."""
    if deployment.replicas == 0:
        return
    # Sorted by problem, not by pod: the message does not change while pods come and go.
    problems = sorted({pod.problem for pod in pods if pod.problem is not None}, key=lambda problem: problem.order)
    yield from (_failing(problem, deployment, queues) for problem in problems if problem.reason != UNSCHEDULABLE)
    if deployment.replica_failure:
        yield _rejected(deployment)
    yield from (_unschedulable(problem, deployment) for problem in problems if problem.reason == UNSCHEDULABLE)


def _failing(problem: PodProblem, deployment: Deployment, queues: Collection[str]) -> _Cause:
    text = f"{problem.reason}: {excerpt(problem.detail).rstrip('. ')}" if problem.detail else problem.reason
    if problem.refused is not None and problem.refused.queue in queues:
        return _Cause(Reason.WORKERS_FAILING, text, problem.refused.explanation, is_explained=True)
    owned, key = deployment.template is None, deployment.taskqueue_key
    is_worker = owned and problem.container == WORKER_CONTAINER
    template = "spec.worker.podTemplate" if owned else deployment.source
    path = "spec.worker" if is_worker else f"container {problem.container} in {template}"
    if problem.reason in IMAGE_FAULTS:
        image = "spec.worker.image" if is_worker else f"the image of {path}"
        secrets = f"{template}.spec.imagePullSecrets" if owned else f"imagePullSecrets in {template}"
        fix = f"Correct {image}, or add the credentials of the registry to {secrets}."
    elif problem.reason == CRASH_LOOP:
        # By label, not by pod: the message does not change while pods come and go.
        logs = f"kubectl -n {key.namespace} logs -l {LABEL_NAME}={key.name} -c {problem.container} --tail=50"
        fix = f"To see the logs: {logs}"
    else:
        fix = f"Correct {path}, or create the missing object."
    return _Cause(Reason.WORKERS_FAILING, text, fix)


def _rejected(deployment: Deployment) -> _Cause:
    message = deployment.replica_failure
    quota = _QUOTA.search(message)
    if quota is None:
        text = f"FailedCreate: {message.rstrip('. ')}"
        return _Cause(Reason.WORKERS_FAILING, text, f"Correct {deployment.source}.")
    # Without the used amount: it changes with every pod, and the message must not.
    figures = ", ".join(part for part in re.split(r", (?=[a-z]+: )", quota[2]) if not part.startswith("used: "))
    text = f"ResourceQuota {quota[1]} is exceeded ({figures})"
    fix = f"Lower {_resources(deployment)} or spec.scaling.maxReplicas, or raise the quota."
    return _Cause(Reason.QUOTA_EXCEEDED, text, fix)


def _unschedulable(problem: PodProblem, deployment: Deployment) -> _Cause:
    nodes = problem.detail.partition(". ")[0].rstrip(".")  # the part on preemption follows; it is irrelevant here
    text = f"no node has room for more workers ({nodes})"
    constraints = "spec.worker.podTemplate" if deployment.template is None else deployment.source
    fix = f"Lower {_resources(deployment)}, correct the scheduling constraints in {constraints}, or add nodes."
    return _Cause(Reason.UNSCHEDULABLE, text, fix)


def _resources(deployment: Deployment) -> str:
    return "spec.worker.resources" if deployment.template is None else f"resources in {deployment.source}"
