"""Which pods a ReplicaSet removes when it is to have fewer: its own order, as far as that can be relied on.

The controller sorts by node, phase, readiness and deletion cost, and then by things that are close to chance (how many
are on the node, how long they have been ready on a logarithmic scale). Pods that are alike up to the cost count as
equals, of which any may go first.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from taskqueue_operator.resource.names import ANNOTATION_COST, DELETION_COST
from taskqueue_operator.workers.api_objects import Pod

COST: Final = -2_000_000_000
"""The deletion cost of who is to go. Below whatever somebody else may have given the others."""
_PHASES: Final = {"Running": 2, "Unknown": 1}  # anything else counts as Pending, to the controller too


class Place(NamedTuple):
    """Where a pod stands in the order; the lower goes first."""

    assigned: bool
    phase: int
    ready: bool
    cost: int


REJECTED_POD: Final = Place(assigned=True, phase=_PHASES["Running"], ready=False, cost=0)
"""Of a pod that is refused so far: as far as this it may have come by the time the number is lowered."""
_READY: Final = REJECTED_POD._replace(ready=True)


def place(pod: Pod) -> Place:
    """Say where it stands."""
    return Place(pod.assigned, _PHASES.get(pod.phase, 0), pod.ready, pod.cost or 0)


def sure(
    pods: Iterable[Pod], removable: Collection[str], *, unsteady: Collection[str] = (), rejected_pods: int = 0
) -> int:
    """Say how many can go so that all of them are removable, from whichever of the ReplicaSets they are taken.

    A pod without a container may be ready by the time the number is lowered: then its cost alone puts it first.

    Args:
        pods: All live pods of the Deployment.
        removable: UIDs of those that may go.
        unsteady: UIDs of those that may be ready, or not, whatever the API shows.
        rejected_pods: How many more pods are asked for and refused, by a quota. They may go.
    """
    families: defaultdict[str, list[Pod]] = defaultdict(list)
    for pod in pods:
        families[pod.replica_set].append(pod)
    limits = [_sure(family, removable, unsteady, rejected_pods) for family in families.values()]
    return min(
        (limit for limit in limits if limit is not None), default=sum(map(len, families.values())) + rejected_pods
    )


def _sure(
    family: Collection[Pod], removable: Collection[str], unsteady: Collection[str], rejected_pods: int
) -> int | None:
    """Count those that certainly go before the first that may not; None when all may."""
    scale_in_blocked = [pod for pod in family if pod.uid not in removable]
    first = min((_earliest(pod, steady=pod.uid not in unsteady) for pod in scale_in_blocked), default=None)
    if first is None:
        return None
    certain = sum(_latest(pod, steady=pod.uid not in unsteady) < first for pod in family if pod.uid in removable)
    return certain + (rejected_pods if first > REJECTED_POD else 0)


def _earliest(pod: Pod, *, steady: bool) -> Place:
    """Say where it stands at the earliest."""
    return place(pod) if steady else place(pod)._replace(ready=False)


def _latest(pod: Pod, *, steady: bool) -> Place:
    """Say where it stands at the latest."""
    if pod.bare:
        return _READY._replace(cost=pod.cost or 0)
    return place(pod) if steady else place(pod)._replace(ready=True)


def obsolete_costs(pods: Iterable[Pod], going: Collection[str]) -> dict[str, int | None]:
    """Find the costs of ours that are to be cleared, by the UID of the pod, since those pods do not go after all."""
    return {pod.uid: None for pod in pods if pod.cost_is_managed and pod.uid not in going}


def missing_costs(pods: Iterable[Pod], going: Collection[str]) -> dict[str, int | None]:
    """Find those that do go and whose cost does not say so, by the UID of the pod.

    Where somebody else wrote one it is left alone: two who write in turns would never end.
    """
    due = (pod for pod in pods if pod.uid in going and not is_foreign(pod))
    return {pod.uid: COST for pod in due if pod.cost != COST}


def with_costs(pods: Iterable[Pod], costs: Mapping[str, int | None]) -> list[Pod]:
    """Show the pods as they will be once these costs are written."""
    return [replace(pod, cost=costs[pod.uid]) if pod.uid in costs else pod for pod in pods]


def is_foreign(pod: Pod) -> bool:
    """Whether somebody else wrote its deletion cost, such as an autoscaler of nodes."""
    return pod.cost is not None and not pod.cost_is_managed


def annotations(cost: int | None) -> dict[str, str | None]:
    """Write a deletion cost as annotations of a pod; None removes one."""
    value = None if cost is None else str(cost)
    return {DELETION_COST: value, ANNOTATION_COST: value}
