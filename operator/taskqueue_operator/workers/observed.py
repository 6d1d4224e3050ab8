"""Deployments and pods as the API server shows them, cut down to what decisions need."""

from dataclasses import dataclass
from typing import Any, Self

from taskqueue_operator.resource.names import ANNOTATION_DIGEST, LABEL_NAME, Key

IMAGE_FAULTS = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})
START_FAULTS = IMAGE_FAULTS | {
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
}


@dataclass(frozen=True, slots=True)
class Deployment:
    """A worker Deployment. `replicas` is what is asked for, the other counts are what there is."""

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
        )


@dataclass(frozen=True, slots=True)
class Pod:
    """A worker pod.

    `trouble` is why its `container` cannot run, such as ImagePullBackOff, or why it has no node; empty if all is well.
    `detail` says more: the image, the last end of the container, or the words of the kubelet or the scheduler.
    """

    key: Key
    taskqueue: str
    resource_version: str
    template_hash: str
    ready: bool
    deleting: bool
    finished: bool
    trouble: str = ""
    container: str = ""
    detail: str = ""

    @classmethod
    def parse(cls, body: dict[str, Any]) -> Self:
        """Read an object of the API."""
        metadata, status = body["metadata"], body.get("status") or {}
        labels = metadata.get("labels") or {}
        trouble, container, detail = _trouble(status)
        return cls(
            key=Key(metadata["namespace"], metadata["name"]),
            taskqueue=labels.get(LABEL_NAME, ""),
            resource_version=metadata["resourceVersion"],
            template_hash=labels.get("pod-template-hash", ""),
            ready=any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or ()),
            deleting="deletionTimestamp" in metadata,
            finished=status.get("phase") in {"Succeeded", "Failed"},
            trouble=trouble,
            container=container,
            detail=detail,
        )


def _trouble(status: dict[str, Any]) -> tuple[str, str, str]:
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        reason, detail = _container_trouble(container)
        if reason:
            return reason, container["name"], detail
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable":
            return "Unschedulable", "", condition.get("message", "")
    return "", "", ""


def _container_trouble(container: dict[str, Any]) -> tuple[str, str]:
    state, last = container.get("state") or {}, container.get("lastState") or {}
    waiting, ended = state.get("waiting") or {}, state.get("terminated") or last.get("terminated") or {}
    reason = waiting.get("reason", "")
    # Between two crashes it runs for a moment: without this, its trouble would come and go with every restart.
    again = ended and ended.get("exitCode") != 0 and container.get("restartCount", 0) > 0 and not container.get("ready")
    if reason == "CrashLoopBackOff" or (again and reason not in START_FAULTS):
        end, code = ended.get("reason", "Error"), ended.get("exitCode", "unknown")
        return "CrashLoopBackOff", f"{end}, exit code {code}" if end != "Error" else f"exit code {code}"
    if reason in IMAGE_FAULTS:
        return reason, container.get("image", "")
    return (reason, waiting.get("message", "")) if reason in START_FAULTS else ("", "")
