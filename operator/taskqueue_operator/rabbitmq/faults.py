"""Maps errors of RabbitMQ and of the network to faults. No message contains a secret."""

import socket
import ssl
from shlex import quote
from typing import Final

import httpcore

from taskqueue_operator.resource.faults import BrokerFault, Reason, excerpt

from .broker_hosts import ForbiddenHostError
from .endpoint import Endpoint
from .frames import NotAmqp

CORRECT_SECRET: Final = "Correct the Secret; the operator reads it again within a minute."
HIDDEN_CAUSE: Final = "the log of the operator has the cause"
FORBIDDEN_HOST: Final = "the chart value brokers.hosts of the operator does not allow this host"
UNTRUSTED_CERTIFICATE: Final = "its certificate is not trusted"
CAUSES: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (ForbiddenHostError, FORBIDDEN_HOST),
    (ssl.SSLError, "TLS handshake failed"),
    (socket.gaierror, "host name not found"),
    (ConnectionRefusedError, "connection refused"),
    (NotAmqp, "the server does not speak AMQP 0-9-1"),
    (TimeoutError, "no answer in time"),
    (httpcore.TimeoutException, "no answer in time"),
    (ConnectionError, "connection closed"),
    (EOFError, "connection closed"),
)


def wrong_password(endpoint: Endpoint) -> BrokerFault:
    """AMQP refuses the username or the password. The name is not shown: the Secret may hold the password there."""
    return BrokerFault(
        Reason.AUTHENTICATION_FAILED,
        f"RabbitMQ at {endpoint.address} refuses the username or the password of the Secret. {CORRECT_SECRET}",
        terminal=True,
    )


def wrong_management_password(endpoint: Endpoint) -> BrokerFault:
    """The management API refuses the username or the password."""
    return BrokerFault(
        Reason.AUTHENTICATION_FAILED,
        f"Management API {endpoint.management_address} refuses the username or the password of the Secret. "
        f"{CORRECT_SECRET}",
        terminal=True,
    )


def no_vhost(endpoint: Endpoint) -> BrokerFault:
    """The vhost does not exist."""
    return BrokerFault(
        Reason.VHOST_NOT_FOUND,
        f'RabbitMQ at {endpoint.address} has no vhost "{endpoint.vhost}". '
        f"Set spec.broker.vhost, correct the path of the Secret's uri, "
        f"or create the vhost: rabbitmqctl add_vhost {quote(endpoint.vhost)}",
        terminal=True,
    )


def vhost_refused(endpoint: Endpoint, text: str) -> BrokerFault:
    """AMQP refuses the vhost for another reason, such as a limit; `text` is the broker's."""
    return BrokerFault(
        Reason.VHOST_NOT_FOUND,
        f'RabbitMQ at {endpoint.address} refuses user "{endpoint.username}" access to vhost "{endpoint.vhost}": '
        f"{excerpt(text)}",
        terminal=True,
    )


def vhost_forbidden(endpoint: Endpoint, username: str) -> BrokerFault:
    """The user has no permissions in the vhost."""
    return BrokerFault(
        Reason.PERMISSION_DENIED,
        f'User "{username}" has no permissions in vhost "{endpoint.vhost}" of RabbitMQ at {endpoint.address}. '
        f"{_grant(endpoint, username)}",
        terminal=True,
    )


def forbidden(endpoint: Endpoint, username: str, operation: str) -> BrokerFault:
    """The user lacks the permission for an operation, such as `configure queue "jobs"`."""
    return BrokerFault(
        Reason.PERMISSION_DENIED,
        f'User "{username}" may not {operation} in vhost "{endpoint.vhost}" of RabbitMQ at {endpoint.address}. '
        f"{_grant(endpoint, username)}",
        terminal=True,
    )


def no_queue(endpoint: Endpoint, queue: str) -> BrokerFault:
    """A queue does not exist."""
    return BrokerFault(
        Reason.QUEUE_NOT_FOUND,
        f'Vhost "{endpoint.vhost}" of RabbitMQ at {endpoint.address} has no queue "{queue}". Correct the name of the '
        "queue.",
        terminal=True,
    )


def consumer_cancelled(endpoint: Endpoint, queue: str) -> BrokerFault:
    """The broker has cancelled a consumer."""
    return BrokerFault(
        Reason.QUEUE_NOT_FOUND,
        f'RabbitMQ at {endpoint.address} has cancelled the consumer of queue "{queue}": the queue was deleted or '
        "moved, or the consumer timeout has passed. Repeat the command.",
    )


def not_delivered(endpoint: Endpoint, queue: str, ready: int) -> BrokerFault:
    """A queue delivers nothing, although messages are ready."""
    return BrokerFault(
        Reason.BROKER_UNREACHABLE,
        f'Queue "{queue}" of RabbitMQ at {endpoint.address} has {ready} ready messages and delivers none. Stop other '
        "consumers of the queue, or repeat the command when the queue has a leader.",
    )


def not_confirmed(endpoint: Endpoint, seconds: float) -> BrokerFault:
    """A published copy is not confirmed in time."""
    return BrokerFault(
        Reason.BROKER_UNREACHABLE,
        f"RabbitMQ at {endpoint.address} has not confirmed a message within {seconds:g} s. Its dead letter stays, and "
        "one copy may be stored as well. Check the alarms of the broker for memory and disk, then repeat the command.",
    )


def refused(endpoint: Endpoint, operation: str, text: str) -> BrokerFault:
    """AMQP refuses an operation for another reason; `text` is the broker's."""
    return BrokerFault(
        Reason.TOPOLOGY_REFUSED,
        f"RabbitMQ at {endpoint.address} refuses to {operation}: {excerpt(text)}",
        terminal=True,
    )


def no_tag(endpoint: Endpoint, tag: str, operation: str) -> BrokerFault:
    """The user lacks a tag that the management API requires for an operation."""
    username = endpoint.management_username
    return BrokerFault(
        Reason.PERMISSION_DENIED,
        f'User "{username}" may not {operation} at {endpoint.management_address}: the tag {tag} is missing. '
        f"Add it: rabbitmqctl set_user_tags {quote(username)} {tag}",
        terminal=True,
    )


def unreachable(endpoint: Endpoint, why: str) -> BrokerFault:
    """AMQP does not answer."""
    return BrokerFault(
        Reason.BROKER_UNREACHABLE,
        f"RabbitMQ at {endpoint.address} does not answer ({_shown(endpoint, why)}). "
        "Start the broker, or correct host and port in the Secret.",
        cause=why,
    )


def too_many_readers(endpoint: Endpoint, limit: int) -> BrokerFault:
    """The operator reads as many endpoints as it may, of this host or of all hosts."""
    return BrokerFault(
        Reason.BROKER_UNREACHABLE,
        f"The operator does not read RabbitMQ at {endpoint.address}: it already reads {limit} pairs of vhost and user. "
        "Let TaskQueues share a vhost and a user.",
    )


def management_unreachable(endpoint: Endpoint, why: str) -> BrokerFault:
    """The management API does not answer, or another server does."""
    return BrokerFault(
        Reason.MANAGEMENT_UNREACHABLE,
        f"Management API {endpoint.management_address} cannot be used ({_shown(endpoint, why)}). "
        "Enable the rabbitmq_management plugin, or set management-uri in the Secret.",
        cause=why,
    )


def not_written(endpoint: Endpoint) -> BrokerFault:
    """The management API answers reads, and no write: metadata needs a majority of the nodes."""
    return BrokerFault(
        Reason.MANAGEMENT_UNREACHABLE,
        f"Management API {endpoint.management_address} does not answer a write in time, as while a majority of the "
        "nodes of RabbitMQ is missing. Start these nodes.",
        cause="no answer in time",
    )


def wrong_management_path(endpoint: Endpoint) -> BrokerFault:
    """The management API finds nothing below the path of management-uri, or has no such vhost; both answer alike."""
    if not endpoint.vouched:
        return management_unreachable(endpoint, "HTTP status 404")
    return BrokerFault(
        Reason.MANAGEMENT_UNREACHABLE,
        f"Management API {endpoint.management_address} finds no vhost of this name below the path of management-uri. "
        "Remove the path, or correct it to the management.path_prefix of RabbitMQ.",
        terminal=True,
    )


def _shown(endpoint: Endpoint, why: str) -> str:
    return why if endpoint.vouched or why == FORBIDDEN_HOST else HIDDEN_CAUSE


def cause(error: BaseException) -> str:
    """Describe a network error by its innermost cause. The error's own text is not used: it may quote what was sent."""
    chain = [error]
    # An error that a library keeps and raises again may be its own context.
    while (inner := chain[0].__cause__ or chain[0].__context__) is not None and inner not in chain:
        chain.insert(0, inner)
    for link in chain:
        if isinstance(link, ssl.SSLCertVerificationError):
            return f"{UNTRUSTED_CERTIFICATE}: {link.verify_message}"
        for kind, text in CAUSES:
            if isinstance(link, kind):
                return text
    network = next((link for link in chain if isinstance(link, OSError) and link.strerror), None)
    return network.strerror.lower() if network is not None and network.strerror else "connection lost"


def _grant(endpoint: Endpoint, username: str) -> str:
    permissions = "'.*' '.*' '.*'"
    return (
        f"Grant the permissions: rabbitmqctl set_permissions -p {quote(endpoint.vhost)} {quote(username)} {permissions}"
    )
