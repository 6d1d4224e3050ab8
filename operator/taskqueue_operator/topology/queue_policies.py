"""The policies that the operator has written for the queues of one TaskQueue."""

from collections.abc import Sequence

from .consumer_timeout import timeout_policies
from .dead_letter_limits import limit_policies
from .objects import Policy, Topology


def queue_policies(queue: str, actual: Topology) -> Sequence[Policy]:
    """Return the existing policies for a queue and its dead-letter queue, with any values."""
    return [*timeout_policies(queue, actual), *limit_policies(queue, actual)]
