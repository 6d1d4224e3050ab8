"""A queue of aio-pika whose consumers an application begins, on a channel that answers at once."""

import asyncio
from typing import Any

import pytest
from aio_pika import RobustQueue
from aiormq import spec
from aiormq.abc import ConsumerCallback
from aiormq.exceptions import ChannelNotFoundEntity

from taskqueue_drain.aio_pika import robust_queue
from taskqueue_drain.aio_pika.consumer import OnDelivery
from taskqueue_drain.aio_pika.delivery import Delivery
from taskqueue_drain.aio_pika.robust_queue import Callback, queue_class
from taskqueue_drain.aio_pika.runtime import AioPikaRuntime


class FakeChannel:
    """As aio-pika's channel, and as aiormq's below it."""

    is_closed = False

    def __init__(self) -> None:
        self.calls: list[object] = []
        self.consumers: dict[str, Any] = {}
        self.closing = asyncio.get_running_loop().create_future()
        self.connection = self
        self.is_missing = False

    async def channel(self, **_: object) -> "FakeChannel":
        return self

    async def queue_declare(self, name: str, *, passive: bool, **_: object) -> None:
        assert (name, passive) == ("work", True)
        if self.is_missing:
            raise ChannelNotFoundEntity

    async def close(self, **_: object) -> None: ...

    async def get_underlay_channel(self) -> "FakeChannel":
        return self

    async def basic_consume(self, queue: str, callback: ConsumerCallback, **options: object) -> spec.Basic.ConsumeOk:
        """Deliver a message before the consumer is confirmed."""
        assert queue == "work"
        self.calls.append(options["arguments"])
        self.consumers["tag"] = callback
        message: Any = FakeMessage(self)
        await callback(message)
        await asyncio.sleep(0)
        return spec.Basic.ConsumeOk(consumer_tag="tag")

    async def basic_nack(self, tag: int, *, requeue: bool) -> None:
        assert (tag, requeue) == (1, True)
        self.calls.append("nack")

    async def flow(self, *, active: bool) -> None:
        assert active
        self.calls.append("flow")


class FakeMessage:
    consumer_tag = "tag"
    delivery_tag = 1

    def __init__(self, channel: FakeChannel) -> None:
        self.channel = channel


class Adapter:
    """Attributes: begun: the messages whose tasks have begun."""

    def __init__(self) -> None:
        self.runtime = AioPikaRuntime()
        self.begun: list[Delivery] = []

    def obstacle(self, queue: object, *, no_ack: bool) -> str | None:  # noqa: ARG002 - see `Adapter` of the module
        return None

    def consumer_timeout_ms(self, queue: object) -> int | None:  # noqa: ARG002 - likewise
        return 260_000

    def refuse(self, reason: str) -> None:
        raise AssertionError(reason)

    def on_delivery(self, callback: Callback, queue: object) -> OnDelivery:  # noqa: ARG002 - likewise
        async def deliver(delivery: Delivery) -> None:
            if delivery.take():
                self.begun.append(delivery)

        return deliver


@pytest.fixture(autouse=True)
def broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that accepts a consumer timeout."""

    async def cancel(queue: Any, tag: str) -> None:  # noqa: ANN401 - a fake
        queue.channel.calls.append(f"cancel {tag}")

    async def accept(_: object, arguments: dict[str, Any] | None, milliseconds: int) -> dict[str, Any]:
        return {**(arguments or {}), "x-consumer-timeout": milliseconds}

    monkeypatch.setattr(RobustQueue, "cancel", cancel)
    monkeypatch.setattr(robust_queue, "with_consumer_timeout", accept)


async def handle(_: object) -> None: ...


async def begin(adapter: Adapter) -> list[object]:
    """Let the application begin a consumer, and return the calls to the broker."""
    channel: Any = FakeChannel()
    queue = queue_class(adapter)(channel, "work", True, False, False, None)

    assert await queue.consume(handle, arguments={"x-priority": 1}) == "tag"
    for _ in range(20):
        await asyncio.sleep(0)
    calls: list[object] = channel.calls
    await queue.cancel("tag")
    return calls


async def test_a_consumer_asks_for_the_timeout_of_its_tasks_beside_what_the_application_asks() -> None:
    adapter = Adapter()
    assert (await begin(adapter))[0] == {"x-priority": 1, "x-consumer-timeout": 260_000}
    assert len(adapter.begun) == 1


async def test_a_consumer_that_begins_during_a_drain_begins_no_task() -> None:
    adapter = Adapter()
    adapter.runtime.stop_consuming()
    assert adapter.runtime.is_quiet
    calls = await begin(adapter)
    assert calls[1:] == ["cancel tag", "nack", "flow"]
    assert (adapter.begun, adapter.runtime.is_quiet) == ([], True)


async def test_a_queue_that_is_missing_does_not_cost_the_channel_on_which_tasks_run() -> None:
    channel: Any = FakeChannel()
    channel.is_missing = True
    queue = queue_class(Adapter())(channel, "work", True, False, False, None)
    with pytest.raises(ChannelNotFoundEntity):
        await queue.consume(handle)
    assert channel.calls == [], "the broker is not asked to consume on it"
