"""Whether a listing could delete what it lists.

AMQP has no way to look at a message: a client receives it, and returns it unacknowledged. A quorum queue counts
returns, and drops a message, or dead-letters it further, when it has more of them than the delivery limit:

* Before RabbitMQ 4.0 there is no limit by default.
* From 4.0 to 4.2 the limit is 20 by default, and each return counts: the 21st listing deletes all that it lists.
* Since 4.3 only returns after the loss of a connection count.

So with 4.0 to 4.2 a queue is read only if it has no limit. Classic queues count nothing.
"""

import re
from collections.abc import Mapping
from typing import Final

from taskqueue_operator.resource.faults import Fault, Reason

Version = tuple[int, int]
COUNTS_EVERY_RETURN: Final[tuple[Version, Version]] = ((4, 0), (4, 3))
"""The first version with a default limit, and the first one in which a listing does not count."""
_ARGUMENT: Final = ("arguments", "x-delivery-limit")
_POLICY: Final = ("effective_policy_definition", "delivery-limit")
_VERSION: Final = re.compile(r"(\d{1,4})\.(\d{1,4})")


def parse_version(text: object) -> Version | None:
    """Parse the version that the broker sends; None if it is not one."""
    version = _VERSION.match(text) if isinstance(text, str) else None
    return None if version is None else (int(version[1]), int(version[2]))


def counts_every_return(version: Version | None) -> bool:
    """Whether each listing counts towards the delivery limit; so it may be if the version is unknown."""
    first, end = COUNTS_EVERY_RETURN
    return version is None or first <= version < end


def is_unlimited(queue: Mapping[str, object]) -> bool:
    """Whether a queue, as the management API of RabbitMQ 4 describes it, never drops a message that often returned."""
    if queue.get("type") == "classic":
        return True
    limits = [_value(queue, *_ARGUMENT), _value(queue, *_POLICY)]
    known = [limit for limit in limits if limit is not None]
    # The lower one of two applies, and a negative one is none.
    return bool(known) and all(isinstance(limit, int) and limit < 0 for limit in known)


def limited(queue: str, version: Version | None) -> Fault:
    """Return the fault of a queue that has a delivery limit, or may have one."""
    return Fault(
        Reason.TOPOLOGY_REFUSED,
        f'RabbitMQ {_shown(version)} drops a message of queue "{queue}" after it was listed 20 times, because the '
        'queue has a delivery limit. Set "delivery-limit": -1 in the policy of this queue, then repeat the command. Or '
        "upgrade to RabbitMQ 4.3, where a listing does not count.",
        terminal=True,
    )


def limit_unknown(queue: str, version: Version | None, cause: str) -> Fault:
    """Return the fault of a queue whose delivery limit cannot be read."""
    return Fault(
        Reason.TOPOLOGY_REFUSED,
        f'RabbitMQ {_shown(version)} may drop a message of queue "{queue}" after it was listed 20 times, and the '
        f"delivery limit of the queue cannot be read: {cause} If the queue has none, add --no-delivery-limit.",
        terminal=True,
    )


def _shown(version: Version | None) -> str:
    return "of an unknown version" if version is None else f"{version[0]}.{version[1]}"


def _value(queue: Mapping[str, object], field: str, name: str) -> object:
    settings = queue.get(field)  # an empty list where there is no policy
    return settings.get(name) if isinstance(settings, dict) else None
