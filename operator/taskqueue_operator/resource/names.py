"""All names that users, Kubernetes or RabbitMQ see; no other module derives names."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from typing_extensions import override

GROUP: Final = "taskqueue.dev"
VERSION: Final = "v1alpha1"
KIND: Final = "TaskQueue"
PLURAL: Final = "taskqueues"
MANAGER: Final = "taskqueue-operator"

FINALIZER: Final = f"{GROUP}/topology"
LABEL_NAME: Final = f"{GROUP}/name"
"""Label of the Deployment and its pods: name of their TaskQueue. By it, a Deployment of others allows one TaskQueue to
scale it."""
ANNOTATION_DIGEST: Final = f"{GROUP}/template-digest"
"""Annotation of the Deployment and its pods: hash of the spec fields that determine the pod template."""
ANNOTATION_APPLIED: Final = f"{GROUP}/applied-digest"
"""Annotation of the Deployment: hash of the manifest that was applied last."""
ANNOTATION_STARTED: Final = f"{GROUP}/started-template"
"""Annotation of the Deployment: ANNOTATION_DIGEST of the last template of which a worker has been ready."""
ANNOTATION_INTERIM: Final = f"{GROUP}/interim-queue"
"""Annotation of the Deployment and its pods during a migration: the queue that they consume beside their own."""
ANNOTATION_EPOCH: Final = f"{GROUP}/epoch"
"""Annotation of the Lease: epoch of its current or last holder."""
ANNOTATION_DRAIN: Final = f"{GROUP}/drain"
"""Annotation of the Deployment while workers are, or may be, drained: fencing token `<epoch>.<seq>` of the commands."""
ANNOTATION_COST: Final = f"{GROUP}/pod-deletion-cost"
"""Annotation of a pod: deletion cost that the operator wrote. If DELETION_COST differs, another controller wrote it."""
DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"
"""Annotation of a pod: of two pods that are equal otherwise, the ReplicaSet removes the one with the lower cost."""

OWNER_ARGUMENT: Final = "x-taskqueue-owner"
"""Argument of every exchange and queue that the operator creates: `<installation>/<namespace>/<name>`."""
CONTROL_PREFIX: Final = "taskqueue."
"""Beginning of the names of all control objects on the broker."""
CONTROL_EXCHANGE: Final = f"{CONTROL_PREFIX}reports"
"""Exchange that workers send their reports to."""
DERIVED_SUFFIXES: Final = (".in", ".dlq", ".fence")
"""Ends of all names that are derived from the name of a queue. No queue that the operator declares has such a name, so
that the objects of two TaskQueues differ if their queues differ."""
RETURN_EXCHANGE: Final = f"{CONTROL_PREFIX}return"
"""Exchange that delay queues publish retries to when their time has come."""
PARKING: Final = f"{CONTROL_PREFIX}parking"
"""Exchange and queue for retries whose queue does not exist any more."""
DELAY_QUEUES: Final = tuple(f"{CONTROL_PREFIX}delay.{1 << power}s" for power in range(16))
"""Queues in which workers delay retries, shared by all TaskQueues of a vhost."""
CELERY_LEVELS: Final = tuple(f"celery_delayed_{level}" for level in range(28))
"""Exchanges and queues in which Celery delays tasks by powers of two of seconds, as kombu names them."""
CELERY_DELIVERY: Final = "celery_delayed_delivery"
"""Exchange from which tasks that Celery has delayed reach their queue."""
RETURN_EXCHANGES: Final = frozenset({RETURN_EXCHANGE, CELERY_DELIVERY})
"""Exchanges that deliver what waited on the broker, past the private exchange of a queue."""
WORKER_CONTAINER: Final = "worker"
QUEUES_SHOWN: Final = 3
"""Names of queues in one message."""


class Key(NamedTuple):
    """Namespace and name of an object in the cluster."""

    namespace: str
    name: str

    @override
    def __str__(self) -> str:
        """Return `namespace/name`."""
        return f"{self.namespace}/{self.name}"


def private_exchange(queue: str) -> str:
    """Return the name of the private exchange, the only source of messages of the physical queue, or of its shards."""
    return f"{queue}.in"


def dead_letter_queue(queue: str) -> str:
    """Return the name of the queue for failed messages."""
    return f"{queue}.dlq"


def shard_queues(queue: str, count: int) -> tuple[str, ...]:
    """Return the names of the queues that take the place of a queue with shards."""
    return tuple(f"{queue}.{number}" for number in range(count))


def marker_queue(queue: str) -> str:
    """Return the name of the queue in which workers keep one marker for each delayed retry of a queue."""
    return f"{CONTROL_PREFIX}delayed.{queue}"


def landing_queue(queue: str) -> str:
    """Return the name of the queue in which retries wait while their own queue, whose length is limited, is full."""
    return f"{RETURN_EXCHANGE}.{queue}"


def celery_routing_key(queue: str) -> str:
    """Return the pattern of the routing keys of a queue's delayed tasks: one word for each level before the name."""
    return "*." * len(CELERY_LEVELS) + queue


def interim_queue(queue: str) -> str:
    """Return the name of the queue that takes the messages of publishers while their queue is replaced.

    The exchange and the policy that switch publishers between the two have the same name.
    """
    return f"{CONTROL_PREFIX}interim.{queue}"


def fence_name(queue: str) -> str:
    """Return the name of the exchange and queue that reject messages while the TaskQueue is being deleted."""
    return f"{queue}.fence"


def quoted(queues: Sequence[str]) -> str:
    """Return the names of queues for a message: `queue "a"`, or `queues "a", "b" and 3 others`."""
    names = ", ".join(f'"{queue}"' for queue in queues[:QUEUES_SHOWN])
    others = f" and {len(queues) - QUEUES_SHOWN} others" if len(queues) > QUEUES_SHOWN else ""
    return f"queue{'s' if len(queues) > 1 else ''} {names}{others}"


def owner(installation: str, key: Key) -> str:
    """Return the owner of an object on the broker; the same after a cluster is rebuilt."""
    return f"{installation}/{key.namespace}/{key.name}"
