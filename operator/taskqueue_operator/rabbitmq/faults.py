"""Everything that can be said of a broker that cannot be used. No message holds a secret."""

import socket
import ssl
from shlex import quote
from typing import Final

import httpx

from taskqueue_operator.resource.faults import BrokerFault, Reason

from .endpoint import Endpoint
from .frames import NotAmqp

AGAIN: Final = "Correct the Secret; it is read again within a minute."
WORDS: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (ssl.SSLError, "TLS handshake failed"),
    (socket.gaierror, "host name not found"),
    (ConnectionRefusedError, "connection refused"),
    (NotAmqp, "something else answers there"),
    (TimeoutError, "no answer in time"),
    (httpx.TimeoutException, "no answer in time"),
    (ConnectionError, "connection closed"),
    (EOFError, "connection closed"),
)


def wrong_password(endpoint: Endpoint) -> BrokerFault:
    """Say that AMQP refuses user or password."""
    return BrokerFault(
        Reason.AUTHENTICATION_FAILED,
        f'RabbitMQ at {endpoint.address} refuses user "{endpoint.username}": wrong username or password. {AGAIN}',
        terminal=True,
    )


def wrong_management_password(endpoint: Endpoint) -> BrokerFault:
    """Say that the management API refuses user or password."""
    return BrokerFault(
        Reason.AUTHENTICATION_FAILED,
        f'Management API {endpoint.management} refuses user "{endpoint.management_username}": '
        f"wrong username or password. {AGAIN}",
        terminal=True,
    )


def no_vhost(endpoint: Endpoint) -> BrokerFault:
    """Say that the vhost does not exist."""
    return BrokerFault(
        Reason.VHOST_NOT_FOUND,
        f'RabbitMQ at {endpoint.address} has no vhost "{endpoint.vhost}". '
        f"Set spec.broker.vhost, correct the path of the Secret's uri, "
        f"or create it: rabbitmqctl add_vhost {quote(endpoint.vhost)}",
        terminal=True,
    )


def vhost_refused(endpoint: Endpoint, words: str) -> BrokerFault:
    """Say that AMQP refuses the vhost for a reason such as a limit, in the broker's words."""
    return BrokerFault(
        Reason.VHOST_NOT_FOUND,
        f'RabbitMQ at {endpoint.address} refuses vhost "{endpoint.vhost}" to user "{endpoint.username}": {words}',
        terminal=True,
    )


def vhost_forbidden(endpoint: Endpoint, username: str) -> BrokerFault:
    """Say that the user has no permissions in the vhost."""
    return BrokerFault(
        Reason.PERMISSION_DENIED,
        f'User "{username}" may not use vhost "{endpoint.vhost}" of RabbitMQ at {endpoint.address}. '
        f"{_grant(endpoint, username)}",
        terminal=True,
    )


def forbidden(endpoint: Endpoint, username: str, act: str) -> BrokerFault:
    """Say that the user lacks a permission, such as `configure queue "jobs"`."""
    return BrokerFault(
        Reason.PERMISSION_DENIED,
        f'User "{username}" may not {act} in vhost "{endpoint.vhost}" of RabbitMQ at {endpoint.address}. '
        f"{_grant(endpoint, username)}",
        terminal=True,
    )


def refused(endpoint: Endpoint, act: str, words: str) -> BrokerFault:
    """Say that AMQP refuses an act for a reason of its own, in the broker's words."""
    return BrokerFault(
        Reason.TOPOLOGY_REFUSED, f"RabbitMQ at {endpoint.address} refuses to {act}: {words}", terminal=True
    )


def no_tag(endpoint: Endpoint, tag: str, purpose: str) -> BrokerFault:
    """Say that the user lacks a tag of the management API."""
    username = endpoint.management_username
    return BrokerFault(
        Reason.PERMISSION_DENIED,
        f'User "{username}" may not {purpose} at {endpoint.management}: it lacks the tag {tag}. '
        f"Grant it: rabbitmqctl set_user_tags {quote(username)} {tag}",
        terminal=True,
    )


def unreachable(endpoint: Endpoint, why: str) -> BrokerFault:
    """Say that AMQP does not answer."""
    return BrokerFault(
        Reason.BROKER_UNREACHABLE,
        f"RabbitMQ at {endpoint.address} does not answer ({why}). The Secret's uri says {endpoint.address}: "
        "start the broker, or correct the Secret.",
    )


def management_unreachable(endpoint: Endpoint, why: str) -> BrokerFault:
    """Say that the management API does not answer, or something else does."""
    return BrokerFault(
        Reason.MANAGEMENT_UNREACHABLE,
        f"Management API {endpoint.management} does not answer ({why}). "
        "Enable the rabbitmq_management plugin, or set management-uri in the Secret.",
    )


def cause(error: BaseException) -> str:
    """Put a network error into words, by its innermost cause; no text of a protocol, which may quote what was sent."""
    chain = [error]
    # Errors that libraries keep and raise again may have come about by themselves.
    while (inner := chain[0].__cause__ or chain[0].__context__) is not None and inner not in chain:
        chain.insert(0, inner)
    for each in chain:
        if isinstance(each, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {each.verify_message}"
        for kind, words in WORDS:
            if isinstance(each, kind):
                return words
    network = next((each for each in chain if isinstance(each, OSError) and each.strerror), None)
    return network.strerror.lower() if network is not None and network.strerror else "connection lost"


def _grant(endpoint: Endpoint, username: str) -> str:
    return f"Grant it: rabbitmqctl set_permissions -p {quote(endpoint.vhost)} {quote(username)} '.*' '.*' '.*'"
