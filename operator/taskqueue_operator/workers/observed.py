"""Deployments and pods as the API server shows them, cut down to what decisions need."""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Self

from taskqueue_operator.resource.names import ANNOTATION_DIGEST, LABEL_NAME, Key

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


@dataclass(frozen=True, slots=True)
class Deployment:
    """A worker Deployment.

    `replicas` is what is asked for, the other counts are what there is. `digest` tells versions of the template apart.
    `refusal` is why the API server makes no more pods, such as an exceeded quota; empty if it does.
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

    @classmethod
    def parse(cls, body: dict[str, Any]) -> Self:
        """Read an object of the API."""
        metadata, status = body["metadata"], body.get("status") or {}
        owner: dict[str, Any] = next(
            (ref for ref in metadata.get("ownerReferences") or () if ref.get("controller")), {}
        )
        return cls(
            key=Key(metadata["namespace"], metadata["name"]),
            uid=metadata["uid"],
            resource_version=metadata["resourceVersion"],
            generation=metadata.get("generation", 0),
            observed_generation=status.get("observedGeneration", 0),
            owner_kind=owner.get("kind", ""),
            owner_name=owner.get("name", ""),
            owner_uid=owner.get("uid", ""),
            digest=(metadata.get("annotations") or {}).get(ANNOTATION_DIGEST, ""),
            replicas=body["spec"].get("replicas", 1),
            live=status.get("replicas", 0),
            ready=status.get("readyReplicas", 0),
            deleting="deletionTimestamp" in metadata,
            refusal=_refusal(status),
        )


class Trouble(NamedTuple):
    """Why a pod does not run.

    `reason` is the kubelet's or the scheduler's, such as ImagePullBackOff; `container` is the one at fault, if it is
    one; `detail` says more: the image, the last end of the container, or the words of the kubelet or the scheduler.
    """

    reason: str
    container: str
    detail: str


@dataclass(frozen=True, slots=True)
class Pod:
    """A worker pod; `digest` is that of the template it was made from."""

    key: Key
    taskqueue: str
    resource_version: str
    digest: str
    ready: bool
    deleting: bool
    finished: bool
    trouble: Trouble | None = None

    @classmethod
    def parse(cls, body: dict[str, Any]) -> Self:
        """Read an object of the API."""
        metadata, status = body["metadata"], body.get("status") or {}
        return cls(
            key=Key(metadata["namespace"], metadata["name"]),
            taskqueue=(metadata.get("labels") or {}).get(LABEL_NAME, ""),
            resource_version=metadata["resourceVersion"],
            digest=(metadata.get("annotations") or {}).get(ANNOTATION_DIGEST, ""),
            ready=any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or ()),
            deleting="deletionTimestamp" in metadata,
            finished=status.get("phase") in {"Succeeded", "Failed"},
            trouble=_trouble(status),
        )


def _refusal(status: dict[str, Any]) -> str:
    for condition in status.get("conditions") or ():
        if condition["type"] == "ReplicaFailure" and condition.get("reason") == "FailedCreate":
            message: str = condition.get("message", "")
            # What comes first names the one pod that was tried.
            return message.rpartition(" is forbidden: ")[2]
    return ""


def _trouble(status: dict[str, Any]) -> Trouble | None:
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        found = _container_trouble(container)
        if found is not None:
            return found
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition.get("reason") == UNSCHEDULABLE:
            return Trouble(UNSCHEDULABLE, "", condition.get("message", ""))
    return None


def _container_trouble(container: dict[str, Any]) -> Trouble | None:
    name, state, last = container["name"], container.get("state") or {}, container.get("lastState") or {}
    waiting, ended = state.get("waiting") or {}, state.get("terminated") or last.get("terminated") or {}
    reason = waiting.get("reason", "")
    # Between two crashes it runs for a moment: without this, its trouble would come and go with every restart.
    again = ended and ended.get("exitCode") != 0 and container.get("restartCount", 0) > 0 and not container.get("ready")
    if reason == CRASH_LOOP or (again and reason not in START_FAULTS):
        end, code = ended.get("reason", "Error"), ended.get("exitCode", "unknown")
        return Trouble(CRASH_LOOP, name, f"{end}, exit code {code}" if end != "Error" else f"exit code {code}")
    if reason in IMAGE_FAULTS:
        # The two take turns with every attempt, and mean the same.
        return Trouble(PULL_BACK_OFF if reason == "ErrImagePull" else reason, name, container.get("image", ""))
    return Trouble(reason, name, waiting.get("message", "")) if reason in START_FAULTS else None
