"""A consumer that an application writes by hand, which is drained before its pod is removed."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Self

from aio_pika.abc import AbstractConnection, AbstractIncomingMessage

from taskqueue_drain.aio import is_cancellation_requested
from taskqueue_drain.consume_settings import ConsumeSettings
from taskqueue_drain.protocol_log import log

from .connection import connect
from .delivery import Delivery
from .membership import Membership
from .runtime import AioPikaRuntime
from .subscriptions import Subscriptions

Handler = Callable[[AbstractIncomingMessage], Awaitable[object]]


class Drainable:
    """Consumes the queues that the environment names, and takes part in drains.

    Use it as `async with Drainable.from_environment() as worker: await worker.run(handler)`.
    """

    def __init__(self, settings: ConsumeSettings, environment: Mapping[str, str]) -> None:
        """Connect nothing yet."""
        self._settings = settings
        self._environment = environment
        self._slots = asyncio.Semaphore(settings.concurrency)
        self._subscriptions: Subscriptions | None = None
        self._is_leaving = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read the environment that the operator gives to the worker (docs/worker-contract.md).

        Raises:
            SettingsError, BrokerError: A variable is missing or not valid; the text names it and the way out.
        """
        return cls(ConsumeSettings.from_environment(environment), environment)

    async def __aenter__(self) -> Self:
        """Answer probes and join the control protocol. SIGTERM and SIGINT end `run` from now on."""
        # First: who sees the probes answer may send SIGTERM.
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.leave)
        self._runtime = AioPikaRuntime(len(self._settings.queues))
        self._membership = Membership(self._runtime, self._environment)
        self._membership.join(self._connect)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Report no more."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().remove_signal_handler(number)
        await self._membership.close()

    async def run(self, handler: Handler) -> None:
        """Consume until SIGTERM or SIGINT, and return after the last running task has ended.

        The message of a task is acknowledged when its handler returns. If the handler raises, or exceeds the timeout of
        a task, the message is rejected: its queue dead-letters it, or delays it for the next attempt with retries of
        type Linear. The handler settles no message itself.
        """

        async def on_delivery(delivery: Delivery) -> None:
            delivery.handle(self._perform(delivery, handler))

        subscriptions = Subscriptions(self._settings, self._runtime, self._connect, on_delivery)
        self._subscriptions = subscriptions
        if self._is_leaving:
            subscriptions.leave()
        await subscriptions.run()

    def leave(self) -> None:
        """Let `run` return: no task starts any more, and prefetched messages are requeued."""
        if not self._is_leaving:
            self._is_leaving = True
            self._membership.leave()
            if self._subscriptions is not None:
                self._subscriptions.leave()

    async def _connect(self, name: str = "") -> AbstractConnection:
        name = name or self._environment.get("TASKQUEUE_NAME", "") or "taskqueue-drain"
        return await connect(self._settings.broker, name)

    async def _perform(self, delivery: Delivery, handler: Handler) -> None:
        async def task() -> bool:
            try:
                async with asyncio.timeout(self._settings.task_timeout_seconds):
                    await handler(delivery.message)
            # What the handler raises, SystemExit or CancelledError too, fails its task and nothing else.
            except BaseException:
                if is_cancellation_requested():  # the event loop ends
                    raise
                log.exception("a task has failed")
                message = delivery.message
                is_tried_again = self._settings.is_tried_again(message.headers, redelivered=bool(message.redelivered))
                await delivery.reject(requeue=is_tried_again)
                return False
            await delivery.ack()
            return True

        await self._runtime.perform(delivery, self._slots, task)
