"""Fake messages, and what runs them in virtual time, for tests without a broker."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

from aio_pika import Message
from aiormq.abc import AbstractChannel, DeliveredMessage
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from taskqueue_drain import copy_headers
from taskqueue_drain.dead_letter_target import DeadLetterTarget
from taskqueue_worker.amqp.acknowledgements import Acknowledgements
from taskqueue_worker.brake import Brake
from taskqueue_worker.bridge import Inbox
from taskqueue_worker.delivery import Delivery
from taskqueue_worker.handler_loop import HandlerLoop
from taskqueue_worker.metrics import Metrics
from taskqueue_worker.publishing.errors import PublishFailedError
from taskqueue_worker.publishing.task_publisher import TaskPublisher
from taskqueue_worker.run import Run
from taskqueue_worker.runner import Runner
from taskqueue_worker.settlement import Settlement
from taskqueue_worker.tasks import Registry
from taskqueue_worker.worker import Worker


class FakeChannel:
    """The used part of the aiormq channel of one delivery, and of its connection.

    A `basic.nack` raises `fault`, or takes `fault` seconds; while `fault` is an exception, nothing is acknowledged.

    Attributes:
        processed: So many settlements the broker has answered for, `answer_seconds` after it was asked.
    """

    def __init__(self) -> None:
        self.is_closed = False
        self.fault: BaseException | float = 0.0
        self.settled: list[str] = []
        self.answer_seconds = 0.0
        self.processed = 0

    @property
    def is_open(self) -> bool:
        return not isinstance(self.fault, BaseException)

    def write(self, _: bytes) -> None:
        self.settled.append("ack")

    async def basic_nack(self, _: int, *, requeue: bool) -> None:
        await self._settle(f"nack requeue={requeue}")

    async def basic_reject(self, _: int, *, requeue: bool) -> None:
        await self._settle(f"reject requeue={requeue}")

    async def flow(self, *, active: bool) -> None:
        assert active
        await asyncio.sleep(self.answer_seconds)
        self.processed = len(self.settled)

    async def _settle(self, method: str) -> None:
        if isinstance(self.fault, BaseException):
            raise self.fault
        await asyncio.sleep(self.fault)
        self.settled.append(method)


class FakeBroker:
    """Confirms the messages that are sent to it, or refuses all with `fault`."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, Message]] = []
        self.fault: PublishFailedError | None = None

    async def send(self, message: Message, exchange: str, routing_key: str) -> None:
        await asyncio.sleep(0)
        if self.fault is not None:
            raise self.fault
        self.sent.append((exchange, routing_key, message))

    def reasons(self) -> list[object]:
        """Return the reasons of the dead letters."""
        return [message.headers.get(copy_headers.REASON) for _, _, message in self.sent]


def make_worker(  # noqa: PLR0913 - all but two have a default
    runner: Runner,
    metrics: Metrics,
    state_changed: asyncio.Event,
    *,
    concurrency: int = 1,
    max_attempts: int = 5,
    broker: FakeBroker | None = None,
    on_lost: Callable[[Delivery, Run], None] = lambda *_: None,
    until_quiet: Callable[[], Awaitable[object]] = lambda: asyncio.sleep(0),
) -> Worker:
    return Worker(
        runner,
        Settlement((broker or FakeBroker()).send, DeadLetterTarget(), metrics, state_changed),
        Brake(prefetch=1, jitter=lambda: 1.0),
        metrics,
        state_changed=state_changed,
        on_lost=on_lost,
        until_quiet=until_quiet,
        concurrency=concurrency,
        max_attempts=max_attempts,
    )


def message(
    type: str | None = "t",  # noqa: A002 - the AMQP name
    *,
    body: bytes = b"{}",
    routing_key: str = "by.key",
    redelivered: bool = False,
    **properties: Any,  # noqa: ANN401 - of every type
) -> DeliveredMessage:
    """Return a message as aiormq delivers it, on a channel of its own."""
    return DeliveredMessage(
        Basic.Deliver("tag", 1, redelivered=redelivered, exchange="x", routing_key=routing_key),
        ContentHeader(body_size=len(body), properties=Basic.Properties(message_type=type, **properties)),
        body,
        cast("AbstractChannel", FakeChannel()),
    )


def delivery(
    type: str | None = "t",  # noqa: A002 - the AMQP name
    *,
    message_id: str | None = "id",
    counts_failures: bool = False,
    **rest: Any,  # noqa: ANN401 - of every type
) -> Delivery:
    """Return the delivery of a `message`."""
    delivered = message(type, message_id=message_id, **rest)
    acknowledgements = Acknowledgements(1, cast("FakeChannel", delivered.channel), lambda send: send())
    return Delivery.of(delivered, "q", acknowledgements, counts_failures=counts_failures)


def channel_of(delivery: Delivery) -> FakeChannel:
    return cast("FakeChannel", delivery.delivered.channel)


class FakePublisher:
    """Confirms the tasks that handlers publish, or refuses all with `fault`.

    Attributes:
        published: Exchange, routing key, payload and options of each task.
    """

    def __init__(self) -> None:
        self.published: list[tuple[str, str, object, dict[str, Any]]] = []
        self.fault: Exception | None = None

    async def close(self) -> None: ...

    async def publish(self, exchange: str, routing_key: str, payload: object, **options: Any) -> str:  # noqa: ANN401
        await asyncio.sleep(0)
        if self.fault is not None:
            raise self.fault
        self.published.append((exchange, routing_key, payload, options))
        return f"id-{len(self.published)}"


def task_publisher(publisher: FakePublisher) -> TaskPublisher:
    """Return what publishes for handlers, without a broker."""
    return TaskPublisher(publisher)


def runner_of(
    registry: Registry,
    timeout_seconds: float = 50,
    *,
    handlers: HandlerLoop | None = None,
    publisher: FakePublisher | None = None,
) -> Runner:
    """Return a runner whose handlers share the loop of the test, and so its virtual time."""
    loop = asyncio.get_running_loop()
    handlers = handlers or HandlerLoop(loop)
    tasks = task_publisher(publisher or FakePublisher())
    return Runner(registry, handlers, Inbox(loop), tasks, timeout_seconds=timeout_seconds, threads=1)
