"""Publishes copies of messages with confirms, on a thread and connections of its own: Celery's thread never waits."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Final

import amqp
import kombu
from amqp import spec
from amqp.exceptions import MessageNacked

from taskqueue_drain.failed_attempt import Copy

TIMEOUT_SECONDS: Final = 5
"""How long the broker may take for one step: to connect, to answer, to confirm."""
BLOCKED_SECONDS: Final = 600
"""How long a copy may wait for the end of a memory alarm."""
PERSISTENT: Final = 2
COMPRESSION: Final = "compression"
"""The header of a compressed body: kombu has uncompressed it."""
NOT_COPIED: Final = frozenset({"application_headers", "delivery_mode", "user_id", "cluster_id"})

Published = Callable[[Exception | None], None]


@dataclass(frozen=True, slots=True)
class _Publishing:
    copy: Copy
    message: Any
    published: Published


class CopyThread:
    """One copy after the other, each on a connection of its own: they are rare."""

    def __init__(self, template: kombu.Connection, name: str) -> None:
        """`template` states where to connect; the broker shows the name of each connection."""
        self._template = template
        self._name = name
        self._waiting: SimpleQueue[_Publishing] = SimpleQueue()
        self._has_started = False

    def publish(self, copy: Copy, message: Any, published: Published) -> None:  # noqa: ANN401 - kombu has no types
        """Publish a message of kombu as the copy says; then call `published` on the thread, with the error if any."""
        self._waiting.put(_Publishing(copy, message, published))
        if not self._has_started:
            self._has_started = True
            threading.Thread(target=self._run, name="taskqueue copies", daemon=True).start()

    def _run(self) -> None:
        while True:
            item = self._waiting.get()
            try:
                self._publish(item.copy, item.message)
            except Exception as error:  # noqa: BLE001 - each one means that no queue has the copy for certain
                item.published(error)
            else:
                item.published(None)

    def _publish(self, copy: Copy, message: Any) -> None:  # noqa: ANN401 - kombu has no types
        """Return when a queue has confirmed the copy."""
        with self._template.clone(connect_timeout=TIMEOUT_SECONDS) as connection:
            connection.transport_options = {
                **self._template.transport_options,
                "client_properties": {"connection_name": self._name},
                "confirm_publish": True,
            }
            connection.connect()
            connection.connection.sock.settimeout(TIMEOUT_SECONDS)
            _publish_with_confirm(connection.connection, copy, message)


def _publish_with_confirm(connection: amqp.Connection, copy: Copy, message: Any) -> None:  # noqa: ANN401 - kombu has no types
    """Publish once. After a memory alarm the broker publishes what it was sent, also without a client: so wait."""
    blocked: list[str] = []
    connection.on_blocked = blocked.append
    channel = connection.channel()
    try:
        channel.basic_publish(
            _as_published(copy, message),
            exchange=copy.exchange,
            routing_key=copy.routing_key,
            mandatory=True,
            confirm_timeout=TIMEOUT_SECONDS,
        )
    except TimeoutError:
        if not blocked:
            raise
        channel.wait([spec.Basic.Ack, spec.Basic.Nack], callback=_on_confirm, timeout=BLOCKED_SECONDS)


def _on_confirm(method: object, *_: object) -> None:
    if method == spec.Basic.Nack:
        raise MessageNacked


def _as_published(copy: Copy, message: Any) -> amqp.Message:  # noqa: ANN401 - kombu has no types
    left_out = NOT_COPIED | {"expiration"} if copy.is_dead_letter else NOT_COPIED
    properties = {name: value for name, value in message.properties.items() if name not in left_out}
    headers = {name: value for name, value in copy.headers.items() if name != COMPRESSION}
    return amqp.Message(message.body, application_headers=headers, delivery_mode=PERSISTENT, **properties)
