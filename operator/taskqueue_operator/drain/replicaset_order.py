"""Which pods a ReplicaSet removes first: its controller's order, as far as that order can be relied on.

The controller sorts by node, phase, readiness and deletion cost, and then by values that are close to random (pods per
node, time since ready on a logarithmic scale). Pods that are equal up to the cost count as equal: any of them may be
removed first.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from taskqueue_operator.resource.names import ANNOTATION_COST, DELETION_COST
from taskqueue_operator.workers.api_objects import Pod

CANDIDATE_COST: Final = -2_000_000_000
"""The deletion cost of a candidate: lower than any that another controller is likely to give other pods."""
_PHASES: Final = {"Running": 2, "Unknown": 1}  # the controller, too, counts every other phase as Pending


class Rank(NamedTuple):
    """The place of a pod in the order. Pods of a lower rank are removed first."""

    assigned: bool
    phase: int
    ready: bool
    cost: int


REJECTED_POD: Final = Rank(assigned=True, phase=_PHASES["Running"], ready=False, cost=0)
"""The highest rank that a pod rejected until now may have when replicas are reduced."""
_READY: Final = REJECTED_POD._replace(ready=True)


def rank(pod: Pod) -> Rank:
    """Return the rank of a pod, as the API shows the pod."""
    return Rank(pod.assigned, _PHASES.get(pod.phase, 0), pod.ready, pod.cost or 0)


def guaranteed_removals(
    pods: Iterable[Pod], removable: Collection[str], *, unsettled: Collection[str] = (), rejected_pods: int = 0
) -> int:
    """Return how many pods can be removed, from any of the ReplicaSets, so that all of them are removable.

    A pod without a container may be ready by the time of the removal: only its cost ranks it first then.

    Args:
        pods: All active pods of the Deployment.
        removable: UIDs of the pods that may be removed.
        unsettled: UIDs of the pods that may be ready or not, whatever the API shows.
        rejected_pods: Number of requested pods that the API server rejects, for a quota. They may be removed.
    """
    replica_sets: defaultdict[str, list[Pod]] = defaultdict(list)
    for pod in pods:
        replica_sets[pod.replica_set].append(pod)
    limits = [_guaranteed(of_one, removable, unsettled, rejected_pods) for of_one in replica_sets.values()]
    return min(
        (limit for limit in limits if limit is not None), default=sum(map(len, replica_sets.values())) + rejected_pods
    )


def _guaranteed(
    pods: Collection[Pod], removable: Collection[str], unsettled: Collection[str], rejected_pods: int
) -> int | None:
    """Count the pods of one ReplicaSet that certainly rank before the first one to keep; None if none is to be kept."""
    kept = [pod for pod in pods if pod.uid not in removable]
    first = min((_lowest_rank(pod, settled=pod.uid not in unsettled) for pod in kept), default=None)
    if first is None:
        return None
    certain = sum(_highest_rank(pod, settled=pod.uid not in unsettled) < first for pod in pods if pod.uid in removable)
    return certain + (rejected_pods if first > REJECTED_POD else 0)


def _lowest_rank(pod: Pod, *, settled: bool) -> Rank:
    return rank(pod) if settled else rank(pod)._replace(ready=False)


def _highest_rank(pod: Pod, *, settled: bool) -> Rank:
    if pod.container_stopped:
        return _READY._replace(cost=pod.cost or 0)
    return rank(pod) if settled else rank(pod)._replace(ready=True)


def obsolete_costs(pods: Iterable[Pod], removable: Collection[str]) -> dict[str, int | None]:
    """Return the costs to clear, by the UID of the pod: we wrote them, and those pods are not removable any more."""
    return {pod.uid: None for pod in pods if pod.cost_is_managed and pod.uid not in removable}


def missing_costs(pods: Iterable[Pod], removable: Collection[str]) -> dict[str, int | None]:
    """Return the costs to write, by the UID of the pod.

    A cost that another controller wrote is left alone: two controllers would overwrite each other without end.
    """
    unmanaged = (pod for pod in pods if pod.uid in removable and not is_foreign(pod))
    return {pod.uid: CANDIDATE_COST for pod in unmanaged if pod.cost != CANDIDATE_COST}


def with_costs(pods: Iterable[Pod], costs: Mapping[str, int | None]) -> list[Pod]:
    """Return the pods as the API will show them once these costs are written."""
    return [replace(pod, cost=costs[pod.uid]) if pod.uid in costs else pod for pod in pods]


def is_foreign(pod: Pod) -> bool:
    """Whether another controller, such as a node autoscaler, wrote the deletion cost."""
    return pod.cost is not None and not pod.cost_is_managed


def cost_annotations(cost: int | None) -> dict[str, str | None]:
    """Return the annotations of a pod for a deletion cost; None removes an annotation."""
    value = None if cost is None else str(cost)
    return {DELETION_COST: value, ANNOTATION_COST: value}
