"""Owns the consume loop of a script with pika, so that the operator can drain it."""

import os
import signal
import threading
from collections.abc import Mapping, Sequence
from types import FrameType, TracebackType
from typing import Any, Self

from pika import ConnectionParameters

from taskqueue_drain.consume_settings import ConsumeSettings
from taskqueue_drain.membership import Membership
from taskqueue_drain.pika_channel import connection_parameters, pika_sessions

from .consumer import Consumer
from .delivery import Handler

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Drainable:
    """A worker of the queues that its environment names. Without a TaskQueue it is a plain consumer.

    A handler may block as long as it needs. A message is acknowledged after its handler has returned. If the handler
    raises, the message is rejected: its queue dead-letters it, or delays it for the next attempt with retries of type
    Linear.
    """

    def __init__(self, settings: ConsumeSettings, environment: Mapping[str, str]) -> None:
        """Connect nothing yet."""
        self._settings = settings
        self._environment = environment
        self._consumer: Consumer | None = None
        self._membership: Membership | None = None
        self._is_leaving = False
        self._former: dict[signal.Signals, Any] = {}

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read the environment that the operator provides (docs/worker-contract.md).

        Raises:
            SettingsError, BrokerError: A variable is missing or not valid; the text names it and the way out.
        """
        return cls(ConsumeSettings.from_environment(environment), environment)

    def __enter__(self) -> Self:
        """Stop at SIGTERM and SIGINT from now on, after the running tasks."""
        if threading.current_thread() is threading.main_thread():
            self._former = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Treat signals as before."""
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def run(self, handler: Handler) -> None:
        """Consume until SIGTERM, SIGINT or `stop`; return after the last task has ended.

        Args:
            handler: Called with each message, on a thread of its own; as many at once as TASKQUEUE_CONCURRENCY says.
        """
        name = self._environment.get("TASKQUEUE_NAME") or "taskqueue-drain"
        consumer = Consumer(self._settings, name, handler)
        membership = Membership(consumer, self._environment)
        self._consumer, self._membership = consumer, membership
        if self._is_leaving:
            self.stop()
        membership.serve()
        membership.join(lambda taskqueue: pika_sessions(self._addresses, taskqueue))
        try:
            consumer.run()
        finally:
            membership.close()

    def stop(self) -> None:
        """Start no further task. Messages that wait return to their queues at once. For any thread."""
        self._is_leaving = True
        if self._consumer is not None and self._membership is not None:
            self._membership.leave()
            self._consumer.leave()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - Python's signature
        self.stop()

    def _addresses(self) -> Sequence[ConnectionParameters]:
        return [connection_parameters(self._settings.broker.read(), "")]
