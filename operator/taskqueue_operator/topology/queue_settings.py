"""What keeps the rejected messages of a queue whose arguments do not (`spec.queue.settingsBy: Policy`). Pure.

A client that declares a queue must repeat its arguments; RabbitMQ does not compare policies. The arguments of the
existing queue decide what its policy must hold, not the spec: so a queue that is being replaced keeps its policy.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from .desired import DEAD_LETTER_EXCHANGE, DEAD_LETTER_KEY, settings_arguments
from .objects import Queue, Topology
from .queue_policy import Requirement

PURPOSE: Final = "settings"
_PREFIX: Final = "x-"
"""Begins the name of the argument; the rest is that of the setting of a policy."""
KEYS: Final = frozenset(name.removeprefix(_PREFIX) for name in (DEAD_LETTER_EXCHANGE, DEAD_LETTER_KEY))
_DELIVERY_LIMIT: Final = "delivery-limit"


def settings_requirement(queue: str, main: str, others: Sequence[Requirement], actual: Topology) -> Requirement | None:
    """Return what the policy of an existing queue must hold, because its arguments do not; None if they do.

    Args:
        queue: Name of the queue.
        main: Name of the queue whose dead-letter queue it uses: its own, or that of the queue that it stands in for.
        others: Other requirements; what they set is theirs.
        actual: All objects of the vhost.
    """
    found = actual.queues.get(queue)
    theirs = {key for requirement in others for key in requirement.settings}
    lacking = _lacking(found, main) if found is not None else {}
    settings = {key: value for key, value in lacking.items() if key not in theirs}
    if not settings:
        return None
    need = f'spec.queue.settingsBy: Policy keeps the rejected messages of queue "{queue}" by a policy'
    return Requirement(PURPOSE, settings, need, "set spec.queue.settingsBy: Arguments")


def keeps_rejected(queue: Queue, main: str, actual: Topology) -> bool:
    """Whether rejected messages of a queue go to its dead-letter queue: by its arguments, or the policy in effect."""
    policy = actual.policies.get(queue.policy or "")
    definition = policy.definition if policy is not None else {}
    needed = {key: value for key, value in _lacking(queue, main).items() if key != _DELIVERY_LIMIT}
    return needed.items() <= definition.items()


def _lacking(queue: Queue, main: str) -> Mapping[str, Any]:
    """Return the settings that a queue does not have as arguments."""
    arguments = settings_arguments(main, queue.type)
    return {name.removeprefix(_PREFIX): value for name, value in arguments.items() if name not in queue.arguments}
