"""Deployments and pods as the API server shows them, cut down to what decisions need."""

import re
from dataclasses import dataclass
from sys import intern
from typing import Any, Final, NamedTuple, Self

from taskqueue_operator.resource.names import (
    ANNOTATION_COST,
    ANNOTATION_DIGEST,
    ANNOTATION_DRAIN,
    DELETION_COST,
    LABEL_NAME,
    WORKER_CONTAINER,
    Key,
)

CRASH_LOOP: Final = "CrashLoopBackOff"
PULL_BACK_OFF: Final = "ImagePullBackOff"
UNSCHEDULABLE: Final = "Unschedulable"
IMAGE_FAULTS: Final = frozenset({"ErrImagePull", PULL_BACK_OFF, "InvalidImageName", "ErrImageNeverPull"})
START_FAULTS: Final = IMAGE_FAULTS | {
    CRASH_LOOP,
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
}
# Its leading zeros count after a minus sign.
_COST: Final = re.compile(r"-[0-9]+|0|[1-9][0-9]*")


@dataclass(frozen=True, slots=True)
class Deployment:
    """A worker Deployment.

    `replicas` is what is asked for, the other counts are what there is: `live` pods, of which `updated` are of the
    newest template. `digest` tells versions of the template apart. `refusal` is why the API server makes no more pods,
    such as an exceeded quota; empty if it does. `stuck` is a rollout that has not got on for too long; `mark` is the
    annotation that stands while workers are drained.
    """

    key: Key
    uid: str
    resource_version: str
    generation: int
    observed_generation: int
    owner_kind: str
    owner_name: str
    owner_uid: str
    digest: str
    replicas: int
    live: int
    ready: int
    deleting: bool
    refusal: str = ""
    updated: int = 0
    stuck: bool = False
    mark: str = ""

    @property
    def observed(self) -> bool:
        """Whether the Deployment's controller has acted on what is asked for now."""
        return self.observed_generation >= self.generation

    @classmethod
    def parse(cls, body: dict[str, Any]) -> Self:
        """Read an object of the API."""
        metadata, status = body["metadata"], body.get("status") or {}
        annotations, owner = metadata.get("annotations") or {}, _owner(metadata)
        return cls(
            key=Key(metadata["namespace"], metadata["name"]),
            uid=metadata["uid"],
            resource_version=metadata["resourceVersion"],
            generation=metadata.get("generation", 0),
            observed_generation=status.get("observedGeneration", 0),
            owner_kind=owner.get("kind", ""),
            owner_name=owner.get("name", ""),
            owner_uid=owner.get("uid", ""),
            digest=annotations.get(ANNOTATION_DIGEST, ""),
            replicas=body["spec"].get("replicas", 1),
            live=status.get("replicas", 0),
            ready=status.get("readyReplicas", 0),
            deleting="deletionTimestamp" in metadata,
            refusal=_refusal(status),
            updated=status.get("updatedReplicas", 0),
            stuck=any(c.get("reason") == "ProgressDeadlineExceeded" for c in status.get("conditions") or ()),
            mark=annotations.get(ANNOTATION_DRAIN, ""),
        )


class PodProblem(NamedTuple):
    """Why a pod does not run.

    `reason` is the kubelet's or the scheduler's, such as ImagePullBackOff; `container` is the one at fault, if it is
    one; `detail` says more: the image, the last end of the container, or the words of the kubelet or the scheduler.
    """

    reason: str
    container: str
    detail: str


@dataclass(frozen=True, slots=True)
class Pod:
    """A worker pod; `digest` is that of the template it was made from.

    Attributes:
        replica_set: UID of the ReplicaSet that made it.
        assigned: Whether it has a node.
        phase: The kubelet's word for it: Pending, Running, Unknown...
        bare: Whether, by the kubelet, its worker's container does not run; what the kubelet does not say is no yes.
        restarts: How often that container was started again.
        cost: Its deletion cost; None when nobody has written one that counts.
        cost_is_ours: Whether it was us who wrote it.
        addresses: Its IP addresses, as far as they are its own: on the network of its node it has none.
    """

    key: Key
    uid: str
    taskqueue: str
    resource_version: str
    digest: str
    replica_set: str
    assigned: bool
    phase: str
    bare: bool
    restarts: int
    ready: bool
    deleting: bool
    finished: bool
    cost: int | None = None
    cost_is_managed: bool = False
    trouble: PodProblem | None = None
    addresses: tuple[str, ...] = ()

    @property
    def live(self) -> bool:
        """Whether its ReplicaSet counts it."""
        return not (self.deleting or self.finished)

    @classmethod
    def parse(cls, body: dict[str, Any]) -> Self:
        """Read an object of the API."""
        metadata, status = body["metadata"], body.get("status") or {}
        annotations, container = metadata.get("annotations") or {}, _worker(status)
        return cls(
            key=Key(metadata["namespace"], metadata["name"]),
            uid=metadata.get("uid", ""),
            taskqueue=(metadata.get("labels") or {}).get(LABEL_NAME, ""),
            resource_version=metadata["resourceVersion"],
            digest=annotations.get(ANNOTATION_DIGEST, ""),
            replica_set=intern(_owner(metadata).get("uid", "")),
            assigned=bool((body.get("spec") or {}).get("nodeName")),
            phase=intern(status.get("phase", "")),
            bare=_bare(status, container),
            restarts=container.get("restartCount", 0),
            ready=any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or ()),
            deleting="deletionTimestamp" in metadata,
            finished=status.get("phase") in {"Succeeded", "Failed"},
            cost=_cost(annotations),
            cost_is_managed=annotations.get(DELETION_COST) == annotations.get(ANNOTATION_COST) is not None,
            trouble=_trouble(status),
            addresses=_addresses(body.get("spec") or {}, status),
        )


def _owner(metadata: dict[str, Any]) -> dict[str, Any]:
    return next((ref for ref in metadata.get("ownerReferences") or () if ref.get("controller")), {})


def _worker(status: dict[str, Any]) -> dict[str, Any]:
    return next((each for each in status.get("containerStatuses") or () if each["name"] == WORKER_CONTAINER), {})


def _addresses(spec: dict[str, Any], status: dict[str, Any]) -> tuple[str, ...]:
    if spec.get("hostNetwork"):
        return ()
    shown = status.get("podIPs") or [{"ip": status.get("podIP")}]
    return tuple(each["ip"] for each in shown if each.get("ip"))


def _bare(status: dict[str, Any], container: dict[str, Any]) -> bool:
    if status.get("phase") == "Unknown":  # the node is out of reach, and what it last said with it
        return False
    state = container.get("state") or {}
    if "running" in state:
        return False
    return bool(state) or (not container and status.get("phase", "Pending") == "Pending")


def _cost(annotations: dict[str, Any]) -> int | None:
    """Read the deletion cost as the ReplicaSet's controller does: an int32 without a plus sign or leading zeros."""
    value = annotations.get(DELETION_COST, "")
    if not _COST.fullmatch(value):
        return None
    cost = int(value)
    return cost if -(2**31) <= cost < 2**31 else None


def _refusal(status: dict[str, Any]) -> str:
    for condition in status.get("conditions") or ():
        if condition["type"] == "ReplicaFailure" and condition.get("reason") == "FailedCreate":
            message: str = condition.get("message", "")
            # What comes first names the one pod that was tried.
            return message.rpartition(" is forbidden: ")[2]
    return ""


def _trouble(status: dict[str, Any]) -> PodProblem | None:
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        found = _container_trouble(container)
        if found is not None:
            return found
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition.get("reason") == UNSCHEDULABLE:
            return PodProblem(UNSCHEDULABLE, "", condition.get("message", ""))
    return None


def _container_trouble(container: dict[str, Any]) -> PodProblem | None:
    name, state, last = container["name"], container.get("state") or {}, container.get("lastState") or {}
    waiting, ended = state.get("waiting") or {}, state.get("terminated") or last.get("terminated") or {}
    reason = waiting.get("reason", "")
    # Between two crashes it runs for a moment: without this, its trouble would come and go with every restart.
    again = ended and ended.get("exitCode") != 0 and container.get("restartCount", 0) > 0 and not container.get("ready")
    if reason == CRASH_LOOP or (again and reason not in START_FAULTS):
        end, code = ended.get("reason", "Error"), ended.get("exitCode", "unknown")
        return PodProblem(CRASH_LOOP, name, f"{end}, exit code {code}" if end != "Error" else f"exit code {code}")
    if reason in IMAGE_FAULTS:
        # The two take turns with every attempt, and mean the same.
        return PodProblem(PULL_BACK_OFF if reason == "ErrImagePull" else reason, name, container.get("image", ""))
    return PodProblem(reason, name, waiting.get("message", "")) if reason in START_FAULTS else None
