"""Why workers do not start: in few words where a decision stops, and with the way out where its user reads it."""

import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from taskqueue_operator.resource.faults import Reason, WorkersFault
from taskqueue_operator.resource.names import LABEL_NAME, WORKER_CONTAINER, Key

from .api_objects import CRASH_LOOP, IMAGE_FAULTS, UNSCHEDULABLE, Deployment, Pod, PodProblem

_QUOTA: Final = re.compile(r"exceeded quota: ([^,]+), (.+)", re.DOTALL)


class _Cause(NamedTuple):
    reason: Reason
    what: str
    way_out: str


def obstacle(there: Deployment, pods: Iterable[Pod], *, started: bool) -> WorkersFault | None:
    """Find why more workers would be in vain; the message goes on where a decision "stopped at 3: ".

    Args:
        there: The Deployment.
        pods: Its pods. Only those of the newest template count.
        started: Whether a worker of that template was ever ready. Then those that fail are no fault of the template:
            they come and go with nodes and registries.
    """
    crew = _crew(there, pods)
    started = started or any(pod.ready for pod in crew)
    for cause in _causes(there, crew):
        if cause.reason is not Reason.WORKERS_FAILING:
            return WorkersFault(cause.reason, cause.what)
        if not started:
            return WorkersFault(cause.reason, f"no worker of this version has started ({cause.what})")
    return None


def trouble(there: Deployment | None, pods: Iterable[Pod]) -> WorkersFault | None:
    """Find why none of the newest workers is ready, and say what to do about it."""
    if there is None:
        return None
    crew = _crew(there, pods)
    cause = next(_causes(there, crew), None)
    if cause is None or any(pod.ready for pod in crew):
        return None
    return WorkersFault(cause.reason, f"No worker is ready: {cause.what}. {cause.way_out}")


def _crew(there: Deployment, pods: Iterable[Pod]) -> list[Pod]:
    return [pod for pod in pods if pod.template_hash == there.template_hash and not (pod.deleting or pod.finished)]


def _causes(there: Deployment, crew: Iterable[Pod]) -> Iterator[_Cause]:
    """Go through what is wrong, first what only a change of the spec mends."""
    if there.replicas == 0:
        return
    # Not the first pod's trouble but the first trouble: the words stay the same while pods come and go.
    troubles = sorted({pod.problem for pod in crew if pod.problem is not None})
    yield from (_failing(each, there.key) for each in troubles if each.reason != UNSCHEDULABLE)
    if there.replica_failure:
        yield _refused(there.replica_failure)
    yield from (_unschedulable(each) for each in troubles if each.reason == UNSCHEDULABLE)


def _failing(found: PodProblem, key: Key) -> _Cause:
    what = f"{found.reason}: {found.detail.rstrip('. ')}" if found.detail else found.reason
    main = found.container == WORKER_CONTAINER
    where = "spec.worker" if main else f"container {found.container} in spec.worker.podTemplate"
    if found.reason in IMAGE_FAULTS:
        image = "spec.worker.image" if main else f"the image of {where}"
        credentials = "spec.worker.podTemplate.spec.imagePullSecrets"
        way_out = f"Correct {image}, or name the registry's credentials in {credentials}."
    elif found.reason == CRASH_LOOP:
        # By label, not by pod: the message stays the same while pods come and go.
        logs = f"kubectl -n {key.namespace} logs -l {LABEL_NAME}={key.name} -c {found.container} --tail=50"
        way_out = f"See: {logs}"
    else:
        way_out = f"Correct {where}, or create what is missing."
    return _Cause(Reason.WORKERS_FAILING, what, way_out)


def _refused(refusal: str) -> _Cause:
    quota = _QUOTA.search(refusal)
    if quota is None:
        return _Cause(Reason.WORKERS_FAILING, f"FailedCreate: {refusal.rstrip('. ')}", "Correct spec.worker.")
    # What is used moves with every pod, and the words are to stay the same.
    figures = ", ".join(part for part in re.split(r", (?=[a-z]+: )", quota[2]) if not part.startswith("used: "))
    what = f"ResourceQuota {quota[1]} is exceeded ({figures})"
    return _Cause(Reason.QUOTA_EXCEEDED, what, "Lower spec.worker.resources or spec.scaling, or raise the quota.")


def _unschedulable(found: PodProblem) -> _Cause:
    nodes = found.detail.partition(". ")[0].rstrip(".")  # on preemption, which comes next, nobody counts here
    what = f"no node takes more workers ({nodes})"
    way_out = "Lower spec.worker.resources, correct what spec.worker.podTemplate asks of nodes, or add nodes."
    return _Cause(Reason.UNSCHEDULABLE, what, way_out)
