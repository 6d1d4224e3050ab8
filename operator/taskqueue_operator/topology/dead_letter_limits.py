"""The policy that limits the dead-letter queue of a queue that the operator declares, in time and in number.

What is beyond a limit is dropped, the oldest messages first. An argument could never be changed.
"""

from collections.abc import Sequence
from typing import Any, Final

from taskqueue_operator.resource.faults import Reason, TopologyFault
from taskqueue_operator.resource.names import dead_letter_queue
from taskqueue_operator.resource.retry import DeadLetter

from .objects import POLICY_PRIORITY, Policy, Topology
from .queue_policy import QueuePolicy

TTL: Final = "message-ttl"
MAX_LENGTH: Final = "max-length"
OVERFLOW: Final = "overflow"


def dead_letter_limits(queue: str, limits: DeadLetter | None, actual: Topology) -> Policy | None:
    """Return the policy for the dead-letter queue of a queue; None if none is needed.

    Raises:
        TopologyFault: The policy would have no effect, because another one has at least the same priority.
    """
    name = dead_letter_queue(queue)
    settings = _settings(limits)
    if name not in actual.queues or not settings:
        return None
    ours = _of(queue)
    replaced = ours.replaced(actual)
    if replaced is not None and replaced.priority >= POLICY_PRIORITY:
        if settings.items() <= replaced.definition.items():
            return None
        written = ", ".join(f"{key}: {value}" for key, value in settings.items())
        raise TopologyFault(
            Reason.POLICY_CONFLICT,
            f'spec.deadLetter limits queue "{name}", and policy "{replaced.name}" of priority {replaced.priority} '
            f"displaces the operator's policy of priority {POLICY_PRIORITY}. Set {written} in that policy, lower its "
            "priority, or remove messageTtlSeconds and maxLength from spec.deadLetter.",
            terminal=True,
        )
    return ours.policy(settings, replaced)


def limit_policies(queue: str, actual: Topology) -> Sequence[Policy]:
    """Return the existing policies of the dead-letter queue of a queue; two while the replaced policy changes."""
    return _of(queue).existing(actual)


def _settings(limits: DeadLetter | None) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    if limits is not None and limits.message_ttl_seconds is not None:
        settings[TTL] = limits.message_ttl_seconds * 1000
    if limits is not None and limits.max_length is not None:
        settings |= {MAX_LENGTH: limits.max_length, OVERFLOW: "drop-head"}
    return settings


def _of(queue: str) -> QueuePolicy:
    return QueuePolicy(dead_letter_queue(queue), "limits", frozenset({TTL, MAX_LENGTH}))
