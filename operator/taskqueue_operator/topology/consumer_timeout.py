"""What a queue needs whose tasks take longer than the broker's consumer timeout allows.

RabbitMQ requeues a message that a consumer has not acknowledged for 30 minutes, and another worker runs its task again.
Since RabbitMQ 4.3 the operator's own workers request the timeout that they need. Before 4.3, and for Plain workers,
only a policy can set the timeout of one queue (since 3.11.15). A policy needs the tag `policymaker`. So it is written
only where the default is too short.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from typing_extensions import override

from .objects import Policy
from .queue_policy import Definition, Requirement
from .versions import TIMEOUT_POLICY_VERSION, Version, is_older, too_old

KEY: Final = "consumer-timeout"
PURPOSE: Final = "timeout"
_WAY_OUT: Final = "lower spec.worker.taskTimeoutSeconds"
DEFAULT_SECONDS: Final = 1800
"""RabbitMQ's default."""


@dataclass(frozen=True, slots=True)
class _Timeout(Requirement):
    """A longer timeout does too."""

    @override
    def is_met_by(self, definition: Definition) -> bool:
        return _milliseconds(definition) >= _milliseconds(self.settings)


def timeout_requirement(queue: str, seconds: int, version: Version) -> Requirement:
    """Return what lets the consumers of a queue hold a message for `seconds`.

    Raises:
        TopologyFault: The broker of this version has one timeout for all queues.
    """
    if seconds > DEFAULT_SECONDS and is_older(version, TIMEOUT_POLICY_VERSION):
        what = f'A consumer timeout of {seconds} s for queue "{queue}"'
        raise too_old(what, TIMEOUT_POLICY_VERSION, version, _WAY_OUT)
    return _Timeout(
        PURPOSE, {KEY: seconds * 1000}, f'Queue "{queue}" needs a consumer timeout of {seconds} s', _WAY_OUT
    )


def granted_seconds(policies: Iterable[Policy]) -> int:
    """Return the longest timeout of the policies that the operator has written; without one, RabbitMQ's default."""
    return max((_milliseconds(policy.definition) for policy in policies), default=DEFAULT_SECONDS * 1000) // 1000


def _milliseconds(definition: Definition) -> int:
    value = definition.get(KEY)
    return value if isinstance(value, int) else DEFAULT_SECONDS * 1000
