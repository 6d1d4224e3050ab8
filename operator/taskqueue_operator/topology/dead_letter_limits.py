"""The policy that limits the dead-letter queue of a queue that the operator declares, in time and in number.

What is beyond a limit is dropped, the oldest messages first. An argument could never be changed.
"""

from collections.abc import Sequence
from typing import Any, Final

from taskqueue_operator.resource.names import dead_letter_queue
from taskqueue_operator.resource.retry import DeadLetter

from .objects import Policy, Topology
from .queue_policy import QueuePolicy, Requirement

TTL: Final = "message-ttl"
MAX_LENGTH: Final = "max-length"
OVERFLOW: Final = "overflow"
PURPOSE: Final = "limits"


def dead_letter_limits(queue: str, limits: DeadLetter | None, actual: Topology) -> Policy | None:
    """Return the policy for the dead-letter queue of a queue; None if none is needed.

    Raises:
        TopologyFault: The policy would have no effect, because another one has at least the same priority.
    """
    settings = _settings(limits)
    limited = Requirement(
        PURPOSE,
        settings,
        f'spec.deadLetter limits queue "{dead_letter_queue(queue)}"',
        "remove messageTtlSeconds and maxLength from spec.deadLetter",
    )
    return _of(queue).required([limited] if settings else [], actual)


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
    return QueuePolicy(dead_letter_queue(queue), {PURPOSE: frozenset({TTL, MAX_LENGTH})})
