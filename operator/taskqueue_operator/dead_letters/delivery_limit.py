"""Whether a listing could delete what it lists.

AMQP has no way to look at a message: a client receives it, and returns it unacknowledged. A quorum queue counts
returns, and drops a message, or dead-letters it further, when it has more of them than the delivery limit:

* Since RabbitMQ 4.3 only returns after the loss of a connection count.
* Before 4.3 each return counts. With a limit of 20, which is the default from 4.0 on, the 21st listing deletes all that
  it lists. Before 4.0 there is no limit by default.
* A negative limit is none from 4.0 on. Before 4.0 it drops each message when it returns for the first time.

So before 4.3 a queue is read only if no message can reach its limit. Classic queues count nothing.
"""

import re
from collections.abc import Mapping
from typing import Final

from taskqueue_operator.resource.bounds import UNREACHABLE_DELIVERY_LIMIT
from taskqueue_operator.resource.faults import Fault, Reason

Version = tuple[int, int]
DEFAULT_LIMIT_SINCE: Final[Version] = (4, 0)
LISTINGS_COUNT_UNTIL: Final[Version] = (4, 3)
_ARGUMENTS: Final = "arguments"
_POLICY: Final = "effective_policy_definition"
NOT_SHOWN: Final = (
    "The management API does not show the policy of the queue, which it does some seconds after a change: repeat the "
    "command then."
)
_VERSION: Final = re.compile(r"(\d{1,4})\.(\d{1,4})")


def parse_version(text: object) -> Version | None:
    """Parse the version that the broker sends; None if it is not one."""
    version = _VERSION.match(text) if isinstance(text, str) else None
    return None if version is None else (int(version[1]), int(version[2]))


def counts_every_return(version: Version | None) -> bool:
    """Whether each listing counts towards the delivery limit; so it may be if the version is unknown."""
    return version is None or version < LISTINGS_COUNT_UNTIL


def drops_nothing(queue: Mapping[str, object], version: Version | None) -> bool | None:
    """Whether a queue, as the management API describes it, drops no message that returns often; None if unknown."""
    if queue.get("type") == "classic":
        return True
    arguments, policy = _settings(queue, _ARGUMENTS), _settings(queue, _POLICY)
    if arguments is None or policy is None:
        return None
    limits = [limit for limit in (arguments.get("x-delivery-limit"), policy.get("delivery-limit")) if limit is not None]
    if not limits:
        return version is not None and version < DEFAULT_LIMIT_SINCE
    return all(_is_unreachable(limit, version) for limit in limits)  # the lower one of two applies


def limited(queue: str, version: Version | None) -> Fault:
    """Return the fault of a queue that has a delivery limit, or may have one."""
    return Fault(
        Reason.TOPOLOGY_REFUSED,
        f'RabbitMQ {_shown(version)} counts each listing of queue "{queue}" towards its delivery limit, and '
        f'drops messages beyond it. Set "delivery-limit": {UNREACHABLE_DELIVERY_LIMIT} in the policy of this queue, '
        "with no lower x-delivery-limit in its arguments, then repeat the command. Or upgrade to RabbitMQ 4.3, where a "
        "listing does not count.",
        terminal=True,
    )


def limit_unknown(queue: str, version: Version | None, cause: str) -> Fault:
    """Return the fault of a queue whose delivery limit cannot be read."""
    return Fault(
        Reason.TOPOLOGY_REFUSED,
        f'RabbitMQ {_shown(version)} counts each listing of queue "{queue}" towards its delivery limit, and the limit '
        f"cannot be read: {cause} If the queue has none, add --no-delivery-limit.",
        terminal=True,
    )


def _is_unreachable(limit: object, version: Version | None) -> bool:
    if not isinstance(limit, int):
        return False
    negative_is_none = version is not None and version >= DEFAULT_LIMIT_SINCE
    return limit >= UNREACHABLE_DELIVERY_LIMIT or (limit < 0 and negative_is_none)


def _settings(queue: Mapping[str, object], field: str) -> Mapping[str, object] | None:
    """Return arguments, or the definition of a policy; None if they are unknown."""
    settings = queue.get(field)
    if settings == []:  # how RabbitMQ writes an empty object
        return {}
    return settings if isinstance(settings, dict) else None


def _shown(version: Version | None) -> str:
    return "of an unknown version" if version is None else f"{version[0]}.{version[1]}"
