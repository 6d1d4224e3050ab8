"""Which dead-letter queue a command reads: that of a TaskQueue, or any queue of a broker."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from taskqueue_operator.kube import secrets, taskqueues
from taskqueue_operator.kube.client import Api, connect
from taskqueue_operator.rabbitmq.endpoint import Endpoint
from taskqueue_operator.rabbitmq.secret import parse_keys, parse_secret
from taskqueue_operator.resource.bounds import CERTIFICATE_BYTES
from taskqueue_operator.resource.faults import BrokerFault, Fault, Reason
from taskqueue_operator.resource.names import MANAGER, Key, dead_letter_queue, quoted
from taskqueue_operator.resource.taskqueue import TaskQueue

URI_VARIABLE: Final = "RABBITMQ_URL"
PASSWORD_VARIABLE: Final = "RABBITMQ_PASSWORD"
SUFFIX: Final = dead_letter_queue("")


class UsageError(Exception):
    """An option is missing or wrong; the message says which."""


@dataclass(frozen=True, slots=True)
class Target:
    """A dead-letter queue.

    Attributes:
        queues: The queues that its messages come from.
    """

    endpoint: Endpoint
    name: str
    queues: frozenset[str]


@dataclass(frozen=True, slots=True)
class Connection:
    """How to connect without Kubernetes; each file contains PEM."""

    uri: str
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    management_uri: str = ""


async def of_taskqueue(key: Key, name: str | None) -> Target:
    """Read a TaskQueue and its Secret with the permissions of the user.

    Args:
        key: Namespace and name of the TaskQueue.
        name: Name of the dead-letter queue, if it is not the one that follows from the TaskQueue.

    Raises:
        Fault: Something does not exist, or may not be read.
    """
    api = Api(await connect(), manager=MANAGER)
    try:
        body = await taskqueues.read(api, key)
        if body is None:
            raise Fault(
                Reason.INVALID_SPEC,
                f"TaskQueue {key} not found. List TaskQueues: kubectl get taskqueues -A",
                terminal=True,
            )
        taskqueue = TaskQueue.parse(body)
        secret = Key(key.namespace, taskqueue.spec.broker.secret_ref.name)
        data = await secrets.read(api, secret, reader="your user")
    finally:
        await api.close()
    if data is None:
        raise BrokerFault(Reason.SECRET_NOT_FOUND, f"Secret {secret} of TaskQueue {key} not found.", terminal=True)
    endpoint = parse_secret(secret, data, taskqueue.spec.broker.vhost)
    return Target(endpoint, name or _dead_letter_queue(taskqueue), frozenset(taskqueue.queue_names))


def of_uri(connection: Connection, name: str, environment: Mapping[str, str]) -> Target:
    """Use a URI, with the password of `RABBITMQ_PASSWORD` if it contains none.

    Raises:
        UsageError: A file cannot be read, or there is no password.
        Fault: The URI or a certificate is not valid.
    """
    keys = {
        "uri": connection.uri.encode(),
        "management-uri": connection.management_uri.encode(),
        "password": environment.get(PASSWORD_VARIABLE, "").encode(),
        "ca.crt": _content(connection.ca_file),
        "tls.crt": _content(connection.certificate_file),
        "tls.key": _content(connection.key_file),
    }
    if not keys["password"] and not _has_password(connection.uri):
        raise UsageError(f"The URI has no password. Set the environment variable {PASSWORD_VARIABLE}.")
    endpoint = parse_keys("The command line", {key: value for key, value in keys.items() if value}, None)
    queue = name.removesuffix(SUFFIX)
    return Target(endpoint, name, frozenset({queue} - {name}))


def _dead_letter_queue(taskqueue: TaskQueue) -> str:
    letters = taskqueue.spec.dead_letter
    if letters is not None and letters.exchange:
        raise UsageError(
            f'The dead letters of TaskQueue {taskqueue.key} go to exchange "{letters.exchange}". Name the queue that '
            "receives them with --queue."
        )
    shared = letters.routing_key if letters is not None else None
    own = taskqueue.dead_letter_queues
    if not shared and len(own) > 1:
        raise UsageError(
            f"TaskQueue {taskqueue.key} consumes {quoted(taskqueue.queue_names)}, and each has a dead-letter queue of "
            "its own. Name one with --queue."
        )
    return shared or own[0]


def _has_password(uri: str) -> bool:
    try:
        return bool(urlsplit(uri).password)
    except ValueError:
        return True  # the URI is not valid, which is reported when it is parsed


def _content(file: Path | None) -> bytes:
    if file is None:
        return b""
    try:
        with file.open("rb") as opened:
            return opened.read(CERTIFICATE_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}.") from None
