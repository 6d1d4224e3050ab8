"""The policy that sets the broker's consumer timeout, for queues whose tasks need more than the default allows.

RabbitMQ requeues a message that a consumer has not acknowledged for 30 minutes, and another worker runs its task again.
Since RabbitMQ 4.3 the operator's own workers request the timeout that they need. Before 4.3, and for Plain workers,
only a policy can set the timeout of one queue. A policy needs the tag `policymaker`. So it is written only where the
default is too short.
"""

import re
from typing import Final

from .desired import QUEUE_TYPE
from .objects import Policy, Queue, Topology, exact_pattern

KEY: Final = "consumer-timeout"
DEFAULT_SECONDS: Final = 1800
"""RabbitMQ's default."""


def consumer_timeout(queue: Queue, seconds: int, actual: Topology) -> Policy | None:
    """Return the policy that lets the consumers of a queue hold a message for `seconds`; None if none is needed.

    RabbitMQ applies only one policy to a queue. So the returned policy repeats the definition of the policy that it
    replaces.
    """
    replaced = _applied_without_ours(queue, actual)
    if _milliseconds(replaced) >= seconds * 1000:
        return None
    definition = {**(replaced.definition if replaced is not None else {}), KEY: seconds * 1000}
    return Policy(_policy_name(queue.name), exact_pattern(queue.name), "queues", definition)


def timeout_policy(queue: str, actual: Topology) -> Policy | None:
    """Return the existing timeout policy of this queue with any timeout; None if there is none."""
    policy = actual.policies.get(_policy_name(queue))
    if policy is None or policy.pattern != exact_pattern(queue) or KEY not in policy.definition:
        return None
    return policy


def granted_seconds(queue: str, actual: Topology) -> int:
    """Return the timeout of the existing timeout policy of this queue, else RabbitMQ's default."""
    return _milliseconds(timeout_policy(queue, actual)) // 1000


def _policy_name(queue: str) -> str:
    return f"{queue}.timeout"


def _milliseconds(policy: Policy | None) -> int:
    value = policy.definition.get(KEY) if policy is not None else None
    return value if isinstance(value, int) else DEFAULT_SECONDS * 1000


def _applied_without_ours(queue: Queue, actual: Topology) -> Policy | None:
    """Select the policy that the broker would apply without ours: the matching one with the highest priority."""
    targets = {"all", "queues", f"{queue.arguments.get(QUEUE_TYPE, 'classic')}_queues"}
    matching = (
        policy
        for name, policy in actual.policies.items()
        if name != _policy_name(queue.name) and policy.apply_to in targets and _matches(policy.pattern, queue.name)
    )
    return max(matching, key=lambda policy: policy.priority, default=None)


def _matches(pattern: str, name: str) -> bool:
    try:
        return re.search(pattern, name) is not None
    except re.error:  # a pattern that only PCRE supports
        return False
