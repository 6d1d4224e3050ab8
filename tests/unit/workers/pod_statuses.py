"""Builders of pod statuses in the form of the API."""

from typing import Any, Final

Body = dict[str, Any]

BY_OPERATOR: Final[list[Body]] = [{"kind": "TaskQueue", "name": "thumbnails", "uid": "u", "controller": True}]
"""Owner of a Deployment that the operator created."""
READY: Final[Body] = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
CRASHED: Final[Body] = {"terminated": {"exitCode": 1, "reason": "Error"}}
UNSCHEDULABLE: Final[Body] = {
    "phase": "Pending",
    "conditions": [
        {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": (
                "0/3 nodes are available: 3 Insufficient cpu. no new claims to deallocate, preemption: "
                "0/3 nodes are available: 3 No preemption victims found for incoming pod."
            ),
        }
    ],
}
QUOTA: Final = (
    'pods "thumbnails-6f7d9c5b8-x2x4z" is forbidden: '
    "exceeded quota: compute, requested: pods=1, used: pods=3, limited: pods=3"
)
"""Message of a Deployment whose pods exceed a quota."""


def container(state: Body, **fields: object) -> Body:
    """Return the status of a pod with one container in a state."""
    return {"containerStatuses": [{"name": "worker", "image": "acme/app:1.5", "state": state} | fields]}


def waiting(reason: str, message: str = "") -> Body:
    """Return the status of a pod with one container that cannot start."""
    return container({"waiting": {"reason": reason, "message": message}})


def refused(message: str) -> Body:
    """Return the condition of a Deployment whose pods are rejected."""
    return {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}
