"""Every name that users, Kubernetes or RabbitMQ see, derived in one place."""

from typing import Final, NamedTuple

from typing_extensions import override

GROUP: Final = "taskqueue.dev"
VERSION: Final = "v1alpha1"
KIND: Final = "TaskQueue"
PLURAL: Final = "taskqueues"
MANAGER: Final = "taskqueue-operator"

FINALIZER: Final = f"{GROUP}/topology"
LABEL_NAME: Final = f"{GROUP}/name"
"""On the Deployment and its pods: the TaskQueue they work for."""
ANNOTATION_DIGEST: Final = f"{GROUP}/template-digest"
"""On the Deployment and its pods: digest of the spec fields that feed the template, so the version of the worker."""
ANNOTATION_EPOCH: Final = f"{GROUP}/epoch"
"""On the Lease: the epoch of the operator that holds it, or was the last to hold it."""
ANNOTATION_DRAIN: Final = f"{GROUP}/drain"
"""On the Deployment while a worker is, or may be, drained: `<epoch>.<seq>` of the commands."""
ANNOTATION_COST: Final = f"{GROUP}/pod-deletion-cost"
"""On a pod: the deletion cost that we wrote; where Kubernetes' own says something else, it is somebody else's."""
DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"
"""On a pod: of two that are alike otherwise, a ReplicaSet removes the one with the lower cost."""

OWNER_ARGUMENT: Final = "x-taskqueue-owner"
"""On every exchange and queue that we created: `<installation>/<namespace>/<name>`."""
WORKER_CONTAINER: Final = "worker"


class Key(NamedTuple):
    """Names one TaskQueue, its Deployment or its Secret within a cluster."""

    namespace: str
    name: str

    @override
    def __str__(self) -> str:
        """As people write it: `namespace/name`."""
        return f"{self.namespace}/{self.name}"


def private_exchange(queue: str) -> str:
    """Name the private fanout exchange that alone feeds the physical queue."""
    return f"{queue}.in"


def dead_letter_queue(queue: str) -> str:
    """Name the queue where failed messages end."""
    return f"{queue}.dlq"


def fence_name(queue: str) -> str:
    """Name the exchange and queue that refuse messages while the TaskQueue is being deleted."""
    return f"{queue}.fence"


def owner(installation: str, key: Key) -> str:
    """Say whose an object on the broker is; stable when a cluster is rebuilt."""
    return f"{installation}/{key.namespace}/{key.name}"
