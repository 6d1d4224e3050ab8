"""What a version of RabbitMQ lacks: a message before anything is created, not a failure later. Pure."""

from typing import Final

from taskqueue_operator.resource.faults import Reason, TopologyFault

Version = tuple[int, ...]
"""Major, minor and patch; zeros if the broker does not tell."""

OLDEST_VERSION: Final[Version] = (3, 10)
"""Since this version, a quorum queue keeps a rejected message until its dead-letter queue has confirmed it."""
TIMEOUT_POLICY_VERSION: Final[Version] = (3, 11, 15)
"""Since this version, a policy can set the consumer timeout of one queue."""
CONSUMER_TIMEOUT_VERSION: Final[Version] = (4, 3)
"""Since this version, a consumer of a quorum queue may request its timeout; consumers of classic queues have none."""
DELAYED_RETRIES_VERSION: Final[Version] = (4, 3, 1)
"""Since this version, a policy can have the broker delay failed messages of a quorum queue."""


def is_older(actual: Version, needed: Version) -> bool:
    """Whether a broker is known to be older than a version."""
    return any(actual) and actual < needed


def check_oldest(queue: str, actual: Version) -> None:
    """Check that the broker can keep the messages of a queue that the operator declares.

    Raises:
        TopologyFault: The broker is too old.
    """
    if is_older(actual, OLDEST_VERSION):
        otherwise = f'declare queue "{queue}" yourself and set spec.queue.external: true'
        raise too_old("A queue that the operator declares", OLDEST_VERSION, actual, otherwise)


def too_old(what: str, needed: Version, actual: Version, otherwise: str) -> TopologyFault:
    """Return that the broker is too old.

    Args:
        what: Beginning of the message: what needs the version.
        needed: The oldest version that does.
        actual: Version of the broker.
        otherwise: End of the message: how to do without.
    """
    found = _text(actual) if any(actual) else "of an unknown version"
    return TopologyFault(
        Reason.TOPOLOGY_REFUSED,
        f"{what} needs RabbitMQ {_text(needed)} or newer, and the broker is RabbitMQ {found}. "
        f"Upgrade RabbitMQ, or {otherwise}.",
        terminal=True,
    )


def _text(version: Version) -> str:
    return ".".join(map(str, version))
