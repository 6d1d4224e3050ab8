"""What the status of a pod says, in the API's own words."""

from typing import Any, Final

Body = dict[str, Any]

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
"""Why a Deployment gets no more pods."""


def container(state: Body, **fields: object) -> Body:
    """A pod whose only container is in this state."""
    return {"containerStatuses": [{"name": "worker", "image": "acme/app:1.5", "state": state} | fields]}


def waiting(reason: str, message: str = "") -> Body:
    """A pod whose only container cannot start."""
    return container({"waiting": {"reason": reason, "message": message}})


def refused(message: str) -> Body:
    """The condition of a Deployment that gets no more pods."""
    return {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}
