"""The policy that sets the broker's consumer timeout, for queues whose tasks need more than the default allows.

RabbitMQ requeues a message that a consumer has not acknowledged for 30 minutes, and another worker runs its task again.
Since RabbitMQ 4.3 the operator's own workers request the timeout that they need. Before 4.3, and for Plain workers,
only a policy can set the timeout of one queue. A policy needs the tag `policymaker`. So it is written only where the
default is too short.

RabbitMQ applies only one policy to a queue. So ours repeats the definition of the policy that it replaces, and its name
contains the name of that policy: a later change of that policy is repeated too. Only the broker evaluates patterns; it
lists which policy it applies to a queue. So ours is written once the queue exists.
"""

from collections.abc import Sequence
from typing import Final

from taskqueue_operator.resource.faults import Reason, TopologyFault

from .objects import POLICY_PRIORITY, Policy, Topology, exact_pattern

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
    replaced = _replaced(queue, actual)
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
    definition = {**(replaced.definition if replaced is not None else {}), KEY: seconds * 1000}
    return Policy(_policy_name(queue, replaced), exact_pattern(queue), "queues", definition)


def timeout_policies(queue: str, actual: Topology) -> Sequence[Policy]:
    """Return the existing timeout policies of this queue, with any timeout; two while the replaced policy changes.

    One of the operator's priority is such a policy even if another client has removed the timeout from it.
    """
    name = _policy_name(queue, None)
    return [
        policy
        for policy in actual.policies_by_pattern.get(exact_pattern(queue), ())
        if (KEY in policy.definition or policy.priority == POLICY_PRIORITY)
        and (policy.name == name or policy.name.startswith(_prefix(queue)))
    ]


def granted_seconds(queue: str, actual: Topology) -> int:
    """Return the timeout of the existing timeout policy of this queue, else RabbitMQ's default."""
    return max(map(_milliseconds, timeout_policies(queue, actual)), default=_milliseconds(None)) // 1000


def _replaced(queue: str, actual: Topology) -> Policy | None:
    """Return the policy that the broker applies to the queue; for ours, the one that it repeats, if that exists."""
    applied = actual.policies.get(actual.queues[queue].policy or "")
    if applied is None or applied not in timeout_policies(queue, actual):
        return applied
    _, _, replaced = applied.name.partition(_prefix(queue))
    return actual.policies.get(replaced)


def _policy_name(queue: str, replaced: Policy | None) -> str:
    return f"{queue}.timeout" if replaced is None else f"{_prefix(queue)}{replaced.name}"


def _prefix(queue: str) -> str:
    return f"{queue}.timeout over "


def _milliseconds(policy: Policy | None) -> int:
    value = policy.definition.get(KEY) if policy is not None else None
    return value if isinstance(value, int) else DEFAULT_SECONDS * 1000
