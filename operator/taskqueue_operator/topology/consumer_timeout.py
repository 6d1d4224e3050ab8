"""The policy that sets the broker's consumer timeout, for queues whose tasks need more than the default allows.

RabbitMQ requeues a message that a consumer has not acknowledged for 30 minutes, and another worker runs its task again.
Since RabbitMQ 4.3 the operator's own workers request the timeout that they need. Before 4.3, and for Plain workers,
only a policy can set the timeout of one queue. A policy needs the tag `policymaker`. So it is written only where the
default is too short.
"""

from collections.abc import Sequence
from typing import Final

from taskqueue_operator.resource.faults import Reason, TopologyFault

from .objects import POLICY_PRIORITY, Policy, Topology
from .queue_policy import QueuePolicy

KEY: Final = "consumer-timeout"
DEFAULT_SECONDS: Final = 1800
"""RabbitMQ's default."""


def consumer_timeout(queue: str, seconds: int, actual: Topology) -> Policy | None:
    """Return the policy that lets the consumers of a queue hold a message for `seconds`; None if none is needed.

    Raises:
        TopologyFault: The policy would have no effect, because another one has at least the same priority.
    """
    if queue not in actual.queues:
        return None
    ours = _of(queue)
    replaced = ours.replaced(actual)
    if _milliseconds(replaced) >= seconds * 1000:
        return None
    if replaced is not None and replaced.priority >= POLICY_PRIORITY:
        raise TopologyFault(
            Reason.POLICY_CONFLICT,
            f'Queue "{queue}" needs a consumer timeout of {seconds} s, and policy "{replaced.name}" of priority '
            f"{replaced.priority} displaces the operator's policy of priority {POLICY_PRIORITY}. Set {KEY}: "
            f"{seconds * 1000} in that policy, lower its priority, or lower spec.worker.taskTimeoutSeconds.",
            terminal=True,
        )
    return ours.policy({KEY: seconds * 1000}, replaced)


def timeout_policies(queue: str, actual: Topology) -> Sequence[Policy]:
    """Return the existing timeout policies of this queue, with any timeout; two while the replaced policy changes."""
    return _of(queue).existing(actual)


def granted_seconds(queue: str, actual: Topology) -> int:
    """Return the timeout of the existing timeout policy of this queue, else RabbitMQ's default."""
    return max(map(_milliseconds, timeout_policies(queue, actual)), default=_milliseconds(None)) // 1000


def _of(queue: str) -> QueuePolicy:
    return QueuePolicy(queue, "timeout", frozenset({KEY}))


def _milliseconds(policy: Policy | None) -> int:
    value = policy.definition.get(KEY) if policy is not None else None
    return value if isinstance(value, int) else DEFAULT_SECONDS * 1000
