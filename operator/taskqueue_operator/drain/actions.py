"""The actions of a drain plan. Each one names the condition under which it is applied."""

from typing import NamedTuple

from taskqueue_operator.workers.api_objects import Pod

from .protocol import Verb
from .worker import Worker


class SendCommand(NamedTuple):
    """Send a command to a worker. The worker refuses it if it has received one of a higher epoch or `seq`."""

    worker: Worker
    verb: Verb


class WriteDrainToken(NamedTuple):
    """Write the drain annotation of the Deployment.

    Attributes:
        before: The present annotation.
        after: The new one; empty to remove it.
        generation: Condition: the Deployment is still at this generation. Every change of an annotation of a
            Deployment increments it, so that the annotation is still `before`.
    """

    before: str
    after: str
    generation: int


class WriteDeletionCost(NamedTuple):
    """Write the deletion cost of a pod; None removes it. Condition: the pod still has the same UID."""

    pod: Pod
    cost: int | None


class ScaleIn(NamedTuple):
    """Reduce the replicas of the Deployment.

    Attributes:
        replicas: The new number.
        generation: Condition: the Deployment is still at this generation.
        drain_token: Condition: its drain annotation is still this one.
    """

    replicas: int
    generation: int
    drain_token: str


class RestoreReplicas(NamedTuple):
    """Raise the replicas of the Deployment again, since workers that were to be removed may consume again.

    Attributes:
        replicas: The new number.
        generation: Condition: the Deployment is still at this generation.
    """

    replicas: int
    generation: int


Action = SendCommand | WriteDrainToken | WriteDeletionCost | ScaleIn | RestoreReplicas
