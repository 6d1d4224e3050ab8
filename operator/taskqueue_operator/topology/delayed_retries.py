"""What a queue needs whose failed messages the broker itself delays (`spec.retry.backoff.type: Linear`).

RabbitMQ counts how often a message of a quorum queue was rejected with requeue, or lost with its consumer. It delays
the message by the smaller of min x count and max, and dead-letters it when the count exceeds the delivery limit. A
message that is returned with `basic.nack` counts for nothing: so a drain is not delayed.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from taskqueue_operator.resource.retry import Backoff
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.resource.worker import Protocol

from .objects import Policy, Topology
from .queue_policy import Requirement
from .versions import DELAYED_RETRIES_VERSION, too_old

TYPE: Final = "delayed-retry-type"
DELIVERY_LIMIT: Final = "delivery-limit"
KEYS: Final = (TYPE, "delayed-retry-min", "delayed-retry-max", DELIVERY_LIMIT)
PURPOSE: Final = "retry"
FAILED: Final = "failed"
RETURNED: Final = frozenset({"all", "returned"})
"""Types with which the broker also delays what is returned with `basic.nack`."""


def retry_requirement(queue: str, taskqueue: TaskQueue, actual: Topology) -> Requirement | None:
    """Return what delays the retries of a queue of a TaskQueue; None if the broker does not delay them.

    Raises:
        TopologyFault: The broker is too old.
    """
    if not taskqueue.broker_delays_retries:
        return None
    if actual.version < DELAYED_RETRIES_VERSION:
        raise too_old("spec.retry.backoff.type: Linear", DELAYED_RETRIES_VERSION, actual.version, _otherwise(taskqueue))
    backoff = taskqueue.retry.backoff or Backoff()
    settings: dict[str, Any] = {
        TYPE: FAILED,
        "delayed-retry-min": backoff.initial_seconds * 1000,
        "delayed-retry-max": backoff.max_seconds * 1000,
    }
    if taskqueue.spec.worker.protocol is Protocol.PLAIN:
        # Workers of protocol TaskQueue dead-letter a message themselves, with the error. The limit of the arguments,
        # which no message reaches that they handle, leaves them time for it.
        settings[DELIVERY_LIMIT] = taskqueue.retry.max_attempts - 1
    return _requirement(queue, settings, _otherwise(taskqueue))


def granted_retries(queue: str, policies: Iterable[Policy]) -> Requirement | None:
    """Return what a policy that the operator has written grants already: workers that still run rely on it."""
    for policy in policies:
        if policy.definition.get(TYPE) == FAILED:
            settings = {key: policy.definition[key] for key in KEYS if key in policy.definition}
            return _requirement(queue, settings, "wait until the workers of the earlier template have ended")
    return None


def _requirement(queue: str, settings: Mapping[str, Any], way_out: str) -> Requirement:
    need = f'spec.retry.backoff.type: Linear delays failed messages of queue "{queue}" by a policy'
    return Requirement(PURPOSE, settings, need, way_out)


def _otherwise(taskqueue: TaskQueue) -> str:
    """Return how to do without: Plain workers have no other retries."""
    is_plain = taskqueue.spec.worker.protocol is Protocol.PLAIN
    return "remove spec.retry" if is_plain else "set spec.retry.backoff.type: Exponential"
