"""How long the broker lets a worker hold a message: a policy, where nothing else says that tasks may take so long.

The broker takes a message away from who holds it for longer than 30 minutes, and another worker runs its task again.
From RabbitMQ 4.3 on our own workers ask for the time that they need; before, and for workers of others, only a policy
says it for one queue. It is written where the default is too short for the tasks. It takes the tag `policymaker`.
"""

import re
from collections.abc import Iterator
from typing import Final

from .desired import QUEUE_TYPE
from .fence import exactly
from .objects import Policy, Queue, Topology

KEY: Final = "consumer-timeout"
DEFAULT_SECONDS: Final = 1800
"""RabbitMQ's own."""


def consumer_timeout(queue: Queue, seconds: int, there: Topology) -> Policy | None:
    """Say which policy lets the consumers of a queue hold a message for so long; None where none is needed.

    Only one policy applies to a queue: ours repeats what the one says that would apply without it.
    """
    others = _applied(queue, there)
    if _milliseconds(others) >= seconds * 1000:
        return None
    definition = {**(others.definition if others is not None else {}), KEY: seconds * 1000}
    return Policy(_name(queue.name), exactly(queue.name), "queues", definition)


def standing_timeout(queue: str, there: Topology) -> Iterator[Policy]:
    """Find the policy that was written for this queue, if there is one, whatever it says."""
    policy = there.policies.get(_name(queue))
    if policy is not None and policy.pattern == exactly(queue) and KEY in policy.definition:
        yield policy


def granted_seconds(queue: str, there: Topology) -> int:
    """Say how long that policy lets them, or the default does."""
    return _milliseconds(next(standing_timeout(queue, there), None)) // 1000


def _name(queue: str) -> str:
    return f"{queue}.timeout"


def _milliseconds(policy: Policy | None) -> int:
    said = policy.definition.get(KEY) if policy is not None else None
    return said if isinstance(said, int) else DEFAULT_SECONDS * 1000


def _applied(queue: Queue, there: Topology) -> Policy | None:
    """Find the policy that applies to the queue but for ours, as the broker does: the highest that matches."""
    targets = {"all", "queues", f"{queue.arguments.get(QUEUE_TYPE, 'classic')}_queues"}
    matching = (
        policy
        for name, policy in there.policies.items()
        if name != _name(queue.name) and policy.apply_to in targets and _matches(policy.pattern, queue.name)
    )
    return max(matching, key=lambda policy: policy.priority, default=None)


def _matches(pattern: str, name: str) -> bool:
    try:
        return re.search(pattern, name) is not None
    except re.error:  # what PCRE alone understands
        return False
