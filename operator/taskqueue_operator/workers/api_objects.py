"""Deployments and pods as the API server shows them, reduced to what decisions need."""

import re
from dataclasses import dataclass
from sys import intern
from typing import Any, Final, Self

from taskqueue_operator.resource.bounds import WAITING_REASON_CHARACTERS
from taskqueue_operator.resource.names import (
    ANNOTATION_APPLIED,
    ANNOTATION_COST,
    ANNOTATION_DIGEST,
    ANNOTATION_DRAIN,
    ANNOTATION_INTERIM,
    ANNOTATION_STARTED,
    DELETION_COST,
    KIND,
    LABEL_NAME,
    Key,
)
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.resource.text import shorten

from .ownership import FieldOwner, field_owners
from .pod_problem import PodProblem, pod_problem
from .worker_template import WorkerTemplate, find_container, has_contract_readiness, worker_container_name

# As the controller parses it: leading zeros are valid only after a minus sign.
_COST: Final = re.compile(r"-[0-9]+|0|[1-9][0-9]*")


@dataclass(frozen=True, slots=True)
class Deployment:
    """A worker Deployment.

    Attributes:
        template_hash: Identifies the version of the pod template.
        replicas: Desired number of pods.
        current_replicas: Present number of pods.
        updated: Present number of pods of the newest template.
        replica_failure: Why the API server creates no more pods, such as an exceeded quota; empty if it does.
        progress_deadline_exceeded: Whether a rollout has made no progress for too long.
        drain_token: The drain annotation; empty while no worker is drained.
        applied_digest: Identifies the manifest that was applied last.
        field_owners: Who owns which of its fields.
        started_template: Hash of the last template of which a worker has been ready; empty if unknown.
        interim_queue: The interim queue that its template consumes too; empty without a migration.
        taskqueue: Name of the TaskQueue in its label.
        template: What matters of its template, if no TaskQueue created it; None otherwise.
    """

    key: Key
    uid: str
    resource_version: str
    generation: int
    observed_generation: int
    owner_kind: str
    owner_name: str
    owner_uid: str
    template_hash: str
    replicas: int
    current_replicas: int
    ready: int
    deleting: bool
    replica_failure: str = ""
    updated: int = 0
    progress_deadline_exceeded: bool = False
    drain_token: str = ""
    applied_digest: str = ""
    field_owners: tuple[FieldOwner, ...] = ()
    started_template: str = ""
    interim_queue: str = ""
    taskqueue: str = ""
    template: WorkerTemplate | None = None

    @property
    def observed(self) -> bool:
        """Whether the Deployment's controller has observed the present generation."""
        return self.observed_generation >= self.generation

    @property
    def taskqueue_key(self) -> Key:
        """The TaskQueue that its label names."""
        return Key(self.key.namespace, self.taskqueue or self.key.name)

    @property
    def source(self) -> str:
        """Where a user changes its template, for messages."""
        return "spec.worker" if self.template is None else f"the template of Deployment {self.key}"

    def serves(self, taskqueue: TaskQueue) -> bool:
        """Whether its pods are the workers of a TaskQueue: that created it, or both its labels name it."""
        if taskqueue.owns_deployment:
            return self.owner_uid == taskqueue.uid
        name = taskqueue.key.name
        return (
            self.key == taskqueue.deployment_key
            and self.template is not None
            and ((self.taskqueue, self.template.taskqueue) == (name, name))
        )

    @classmethod
    def parse(cls, body: dict[str, Any]) -> Self:
        """Parse an object of the API."""
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
            template_hash=annotations.get(ANNOTATION_DIGEST, ""),
            replicas=body["spec"].get("replicas", 1),
            current_replicas=status.get("replicas", 0),
            ready=status.get("readyReplicas", 0),
            deleting="deletionTimestamp" in metadata,
            replica_failure=_replica_failure(status),
            updated=status.get("updatedReplicas", 0),
            progress_deadline_exceeded=any(
                condition.get("reason") == "ProgressDeadlineExceeded" for condition in status.get("conditions") or ()
            ),
            drain_token=annotations.get(ANNOTATION_DRAIN, ""),
            applied_digest=annotations.get(ANNOTATION_APPLIED, ""),
            field_owners=field_owners(metadata),
            started_template=annotations.get(ANNOTATION_STARTED, ""),
            interim_queue=annotations.get(ANNOTATION_INTERIM, ""),
            taskqueue=(metadata.get("labels") or {}).get(LABEL_NAME, ""),
            template=WorkerTemplate.parse(body["spec"]) if owner.get("kind") != KIND else None,
        )


@dataclass(frozen=True, slots=True)
class Pod:
    """A worker pod.

    Attributes:
        template_hash: Identifies the pod template from which it was created.
        replica_set: UID of its ReplicaSet; empty for a pod of no ReplicaSet.
        deployment: Name of the Deployment that created this ReplicaSet, by the name of the ReplicaSet.
        assigned: Whether it is assigned to a node.
        phase: Its phase: Pending, Running, Unknown...
        container_stopped: Whether the kubelet shows that the worker container does not run; False if it shows nothing.
        restarts: How often that container was restarted.
        interim_queue: The interim queue that it consumes too; empty without a migration.
        exit_code: With which code its worker container ended; None while it runs, or waits to be started again.
        never_ready: Whether that container serves the endpoints of the contract (its startup probe succeeded), and has
            not been ready since it started: it has not consumed.
        finished: Whether it has succeeded or failed.
        cost: Its deletion cost; None without a valid one.
        cost_is_managed: Whether the operator wrote the cost.
        problem: Why it does not run; None if it does.
        waiting: What its first container that does not run waits for, such as ContainerCreating; empty if all run.
        addresses: Its own IP addresses; none on the network of its node.
    """

    key: Key
    uid: str
    taskqueue: str
    resource_version: str
    template_hash: str
    replica_set: str
    assigned: bool
    phase: str
    container_stopped: bool
    restarts: int
    ready: bool
    deleting: bool
    finished: bool
    cost: int | None = None
    cost_is_managed: bool = False
    problem: PodProblem | None = None
    waiting: str = ""
    addresses: tuple[str, ...] = ()
    never_ready: bool = False
    exit_code: int | None = None
    interim_queue: str = ""
    deployment: str = ""

    @property
    def is_active(self) -> bool:
        """Whether its ReplicaSet counts it as a replica."""
        return not (self.deleting or self.finished)

    @classmethod
    def parse(cls, body: dict[str, Any]) -> Self:
        """Parse an object of the API."""
        metadata, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
        annotations, owner = metadata.get("annotations") or {}, _owner(metadata)
        in_replica_set, name = owner.get("kind") == "ReplicaSet", worker_container_name(metadata, spec)
        container = _container_status(status, name)
        is_probed = ANNOTATION_DIGEST in annotations or has_contract_readiness(find_container(spec, name))
        return cls(
            key=Key(metadata["namespace"], metadata["name"]),
            uid=metadata.get("uid", ""),
            taskqueue=(metadata.get("labels") or {}).get(LABEL_NAME, ""),
            resource_version=metadata["resourceVersion"],
            template_hash=annotations.get(ANNOTATION_DIGEST, ""),
            replica_set=intern(owner.get("uid", "")) if in_replica_set else "",
            deployment=intern(owner.get("name", "").rpartition("-")[0]) if in_replica_set else "",
            assigned=bool(spec.get("nodeName")),
            phase=intern(status.get("phase", "")),
            container_stopped=_container_stopped(status, container),
            restarts=container.get("restartCount", 0),
            ready=any(_is_ready(condition) for condition in status.get("conditions") or ()),
            deleting="deletionTimestamp" in metadata,
            finished=status.get("phase") in {"Succeeded", "Failed"},
            cost=_cost(annotations),
            cost_is_managed=annotations.get(DELETION_COST) == annotations.get(ANNOTATION_COST) is not None,
            problem=pod_problem(status),
            waiting=_waiting(status),
            addresses=_addresses(spec, status),
            never_ready=is_probed and _decides_readiness(spec, status, name) and _never_ready(status, container),
            exit_code=((container.get("state") or {}).get("terminated") or {}).get("exitCode"),
            interim_queue=intern(annotations.get(ANNOTATION_INTERIM, "")),
        )


def _owner(metadata: dict[str, Any]) -> dict[str, Any]:
    return next((ref for ref in metadata.get("ownerReferences") or () if ref.get("controller")), {})


def _container_status(status: dict[str, Any], name: str) -> dict[str, Any]:
    return next((found for found in status.get("containerStatuses") or () if found["name"] == name), {})


def _addresses(spec: dict[str, Any], status: dict[str, Any]) -> tuple[str, ...]:
    if spec.get("hostNetwork"):
        return ()
    shown = status.get("podIPs") or [{"ip": status.get("podIP")}]
    return tuple(address["ip"] for address in shown if address.get("ip"))


def _is_ready(condition: dict[str, Any]) -> bool:
    return (condition["type"], condition["status"]) == ("Ready", "True")


def _never_ready(status: dict[str, Any], container: dict[str, Any]) -> bool:
    """Compare times of one kubelet: Ready became false no later than the container started."""
    since: dict[str, Any] = next((found for found in status.get("conditions") or () if found["type"] == "Ready"), {})
    started_at = ((container.get("state") or {}).get("running") or {}).get("startedAt") or ""
    unready_since = since.get("lastTransitionTime") or "9"
    return since.get("status") == "False" and container.get("started") is True and str(unready_since) <= str(started_at)


def _decides_readiness(spec: dict[str, Any], status: dict[str, Any], name: str) -> bool:
    """Whether nothing but the worker container keeps its pod from being ready: no gate, no other container."""
    containers = (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))
    return not spec.get("readinessGates") and all(found.get("ready") for found in containers if found["name"] != name)


def _container_stopped(status: dict[str, Any], container: dict[str, Any]) -> bool:
    if status.get("phase") == "Unknown":  # the node is unreachable: its last status proves nothing
        return False
    state = container.get("state") or {}
    if "running" in state:
        return False
    return bool(state) or (not container and status.get("phase", "Pending") == "Pending")


def _cost(annotations: dict[str, Any]) -> int | None:
    """Parse the deletion cost as the ReplicaSet controller does: an int32 without a plus sign or leading zeros."""
    value = annotations.get(DELETION_COST, "")
    if not _COST.fullmatch(value):
        return None
    cost = int(value)
    return cost if -(2**31) <= cost < 2**31 else None


def _replica_failure(status: dict[str, Any]) -> str:
    for condition in status.get("conditions") or ():
        if condition["type"] == "ReplicaFailure" and condition.get("reason") == "FailedCreate":
            message: str = condition.get("message", "")
            # The text before it names the one pod that was rejected.
            return message.rpartition(" is forbidden: ")[2]
    return ""


def _waiting(status: dict[str, Any]) -> str:
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        waiting = (container.get("state") or {}).get("waiting")
        if waiting is not None:
            return intern(shorten(waiting.get("reason", ""), WAITING_REASON_CHARACTERS))
    return ""
