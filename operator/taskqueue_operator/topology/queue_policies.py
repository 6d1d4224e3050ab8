"""The policies of the operator for the queues of one TaskQueue."""

from collections.abc import Iterable, Sequence

from . import consumer_timeout, delayed_retries, queue_limits, queue_settings
from .dead_letter_limits import limit_policies
from .objects import Policy, Topology
from .queue_policy import QueuePolicy, Requirement


def main_policy(queue: str, requirements: Sequence[Requirement], actual: Topology) -> Policy | None:
    """Return the policy for the queue that workers consume; None if none is needed.

    Raises:
        TopologyFault: The policy would have no effect, because another one has at least the same priority.
    """
    return _main(queue).required(requirements, actual)


def main_policies(queue: str, actual: Topology) -> Sequence[Policy]:
    """Return the existing policies for the queue that workers consume, with any values."""
    return _main(queue).existing(actual)


def delays_returned(queue: str, actual: Topology) -> str:
    """Return what delays messages that a worker gives back: a policy of the user, or an argument; empty if nothing."""
    found = actual.queues.get(queue)
    if found is None or found.delayed not in delayed_retries.RETURNED:
        return ""
    policy = _main(queue).replaced(actual)
    if policy is None or delayed_retries.TYPE not in policy.definition:
        return f"Argument x-{delayed_retries.TYPE}: {found.delayed}"
    return f'Policy "{policy.name}" ({delayed_retries.TYPE}: {found.delayed})'


def queue_policies(queue: str, actual: Topology, shards: Iterable[str] = ()) -> Sequence[Policy]:
    """Return the existing policies for a queue, its shards and its dead-letter queue, with any values."""
    consumed = dict.fromkeys((queue, *shards))
    return [*(policy for name in consumed for policy in main_policies(name, actual)), *limit_policies(queue, actual)]


def _main(queue: str) -> QueuePolicy:
    purposes = {
        queue_settings.PURPOSE: queue_settings.KEYS,
        delayed_retries.PURPOSE: frozenset({delayed_retries.TYPE}),
        consumer_timeout.PURPOSE: frozenset({consumer_timeout.KEY}),
        queue_limits.PURPOSE: queue_limits.KEYS,
    }
    return QueuePolicy(queue, purposes)
