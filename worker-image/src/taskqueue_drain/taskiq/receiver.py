"""The receiver of taskiq, which can stop consuming, with proof, and dead-letters what fails."""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import nullcontext
from contextvars import ContextVar
from typing import Any

from aio_pika import RobustQueue
from taskiq import AckableMessage, TaskiqMessage, TaskiqMiddleware, TaskiqResult
from taskiq import __version__ as taskiq_version
from taskiq.acks import AckController, AcknowledgeType
from taskiq.exceptions import NoResultError
from taskiq.receiver import Receiver as TaskiqReceiver

from taskqueue_drain.aio_pika.consumer import OnDelivery
from taskqueue_drain.aio_pika.membership import Membership, beside
from taskqueue_drain.aio_pika.robust_queue import Callback, prefetch_count, queue_class
from taskqueue_drain.aio_pika.runtime import AioPikaRuntime
from taskqueue_drain.consume_settings import consumer_timeout_ms
from taskqueue_drain.environment import CannotJoinError
from taskqueue_drain.protocol_log import contained, log

from .message import TaskMessage
from .supported import check_taskiq, worker_processes

_current: ContextVar[TaskMessage | None] = ContextVar("taskqueue_message", default=None)


class Receiver(TaskiqReceiver):  # type: ignore[misc]  # taskiq is installed for its tests only
    """Joins the control protocol (`taskqueue_drain.aio_pika.robust_queue.Adapter`)."""

    runtime: AioPikaRuntime
    refuse: Callable[[str], None]
    task_timeout_seconds: int | None
    run_startup: bool

    async def listen(self, finish_event: asyncio.Event) -> None:
        """Join, and listen as taskiq does."""
        if self.run_startup:
            await self.broker.startup()
            self.run_startup = False
        self.runtime = AioPikaRuntime()
        membership = Membership(self.runtime, os.environ)
        self.refuse = membership.refuse
        self.task_timeout_seconds = membership.task_timeout_seconds
        self._prepare(membership)
        leaving = asyncio.ensure_future(_leave_after(finish_event, membership))
        try:
            await super().listen(finish_event)
        finally:
            leaving.cancel()
            await membership.close()

    async def callback(self, message: bytes | AckableMessage, raise_err: bool = False) -> None:  # noqa: FBT001, FBT002 - taskiq's
        """Run a task, unless its message is requeued before."""
        task_message = TaskMessage.of(message.ack) if isinstance(message, AckableMessage) else None
        if task_message is None:
            await super().callback(message, raise_err)
            return
        run = super().callback

        async def task() -> bool:
            _current.set(task_message)
            try:
                await run(message, raise_err)
            finally:
                await _settle(task_message)
            return task_message.is_done

        await self.runtime.perform(task_message.delivery, nullcontext(), task)

    async def run_task(
        self, target: Callable[..., Any], message: TaskiqMessage, ack_controller: AckController | None = None
    ) -> TaskiqResult[Any]:
        """Learn whether the task is done."""
        current = _current.get()
        if current is not None:
            current.task_id = message.task_id
            current.is_manual = message.labels.get("ack_type", self.ack_time) == AcknowledgeType.MANUAL
        result = await super().run_task(target, message, ack_controller)
        if current is not None:
            current.is_done = not result.is_err or isinstance(result.error, NoResultError)
        return result

    def obstacle(self, queue: RobustQueue, *, no_ack: bool) -> str | None:
        """See `Adapter`: every consumer of the broker can be drained."""
        return f"queue {queue.name} is consumed without acknowledgements" if no_ack else None

    def consumer_timeout_ms(self, queue: RobustQueue) -> int | None:
        """See `Adapter`: all queues of the broker share the slots of this receiver."""
        if self.task_timeout_seconds is None:
            return None
        prefetch = prefetch_count(queue.channel) * len(getattr(self.broker, "_task_queues", ()))
        slots = self.sem._value if self.sem is not None else prefetch  # noqa: SLF001 - it has no public name
        return consumer_timeout_ms(self.task_timeout_seconds, prefetch=max(1, prefetch), concurrency=max(1, slots))

    def on_delivery(self, callback: Callback, queue: RobustQueue) -> OnDelivery:  # noqa: ARG002 - see `Adapter`
        """See `Adapter`: taskiq collects the messages, and begins their tasks itself."""
        return lambda delivery: callback(TaskMessage(delivery))

    @contained
    def _prepare(self, membership: Membership) -> None:
        """Find out whether this worker can be drained."""
        broker: Any = self.broker
        try:
            check_taskiq(taskiq_version, broker, workers=worker_processes())
        except CannotJoinError as error:
            membership.refuse(str(error))
        else:
            membership.join(beside(broker.read_conn))
        if getattr(broker, "read_channel", None) is not None:
            broker.read_channel.QUEUE_CLASS = queue_class(self)
            broker.add_middlewares(_SeesRetries())


class _SeesRetries(TaskiqMiddleware):  # type: ignore[misc]  # see above
    """A task that is retried is sent again, with its id."""

    def post_send(self, message: TaskiqMessage) -> None:
        current = _current.get()
        if current is not None and current.task_id == message.task_id:
            current.is_retried = True


async def _settle(message: TaskMessage) -> None:
    """Settle what taskiq drops: an unknown task, a message that cannot be read, or a task whose middleware raises."""
    if message.delivery.is_settled or (message.is_done and message.is_manual):
        return
    if message.is_done:
        await message.ack()
        return
    log.warning("a message whose task has not been done is rejected, so that its queue dead-letters it")
    await message.delivery.reject(requeue=False)


async def _leave_after(finish_event: asyncio.Event, membership: Membership) -> None:
    """Stop consuming when taskiq got a signal. Its handler alone does not wake a loop that waits for the broker."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        handler = signal.getsignal(number)
        if callable(handler):
            loop.add_signal_handler(number, handler, number, None)
    await finish_event.wait()
    membership.leave()
