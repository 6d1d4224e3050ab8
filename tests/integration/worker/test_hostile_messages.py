"""A message that no client library would write costs only itself."""

import struct
from datetime import UTC, datetime
from typing import Final

import aio_pika
import pytest
from aio_pika.abc import FieldValue

from taskqueue_drain import copy_headers
from taskqueue_worker import Publisher, PublishFailedError
from tests.cluster.broker import Broker
from tests.integration.harness.versions import every_version
from tests.integration.worker.amqp10_publisher import publish_over_amqp_10
from tests.integration.worker.conftest import DeclareQueue, StartWorker
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.raw_publisher import (
    HEADERS_AND_MODE,
    HEADERS_MODE_AND_TYPE,
    PERSISTENT,
    nested_table,
    publish_raw,
    table_with,
)
from tests.integration.worker.retry_path import declare_retry_path

EMPTY = b"\x00\x00\x00\x00"
UNREADABLE = {
    "headers nested 5,000 levels deep": (HEADERS_AND_MODE, nested_table(5000) + PERSISTENT),
    "a header name that is not UTF-8": (HEADERS_AND_MODE, table_with(b"\xff\xfe", b"t\x01") + PERSISTENT),
    "a timestamp beyond the calendar": (HEADERS_AND_MODE, table_with(b"at", b"T\x7f" + b"\xff" * 7) + PERSISTENT),
    "a type that is not UTF-8": (HEADERS_MODE_AND_TYPE, EMPTY + PERSISTENT + b"\x02\xff\xfe"),
    "an unknown delivery mode": (HEADERS_AND_MODE, EMPTY + b"\x07"),
}


async def test_messages_whose_properties_cannot_be_read_are_dead_lettered_and_others_are_done(
    broker: Broker, start_worker: StartWorker, queue: DeclaredQueue
) -> None:
    for flags, properties in UNREADABLE.values():
        await publish_raw(broker.url, queue.name, flags=flags, properties=properties)
    await queue.publish(n=1)
    worker = start_worker(queues=queue.name)
    await worker.wait_for_ledger("finished 1 draining=False")
    await queue.wait_for_ready(len(UNREADABLE), queue.dead_letters)
    for flags, properties in UNREADABLE.values():
        letter = await queue.get(queue.dead_letters)
        assert letter.body == b"{}"
        assert letter.headers["x-failure-reason"] == "invalid_payload"
        assert letter.headers["x-unreadable-properties"] == flags.to_bytes(2, "big") + properties
    assert len(worker.lines(event="connected")) == 1


async def test_a_header_of_bytes_reaches_the_handler(
    broker: Broker, start_worker: StartWorker, queue: DeclaredQueue
) -> None:
    properties = table_with(b"raw", b"x\x00\x00\x00\x02\xff\xfe") + PERSISTENT + b"\x04work"
    await publish_raw(broker.url, queue.name, flags=HEADERS_MODE_AND_TYPE, properties=properties, body=b'{"n": 2}')
    worker = start_worker(queues=queue.name)
    await worker.wait_for_ledger("finished 2 draining=False")


async def test_messages_whose_copies_the_broker_would_refuse_are_dead_lettered_and_others_are_done(
    broker: Broker, start_worker: StartWorker, queue: DeclaredQueue
) -> None:
    # With headers that the worker writes itself, their dead letter would be longer than a frame.
    for header in (b"x-original-routing-key", b"x-original-exchange", b"x-first-failure-at"):
        headers = table_with(header, b"S" + struct.pack(">I", 130_900) + b"x" * 130_900)
        await publish_raw(broker.url, queue.name, flags=HEADERS_AND_MODE, properties=headers + PERSISTENT)
    # In AMQP 0-9-1 it stands for a consumer of the same channel.
    await publish_over_amqp_10(broker.url, queue.name, type_="unknown", reply_to="amq.rabbitmq.reply-to")
    await queue.publish(n=1)
    worker = start_worker(queues=queue.name)
    await worker.wait_for_ledger("finished 1 draining=False")
    await queue.wait_for_ready(4, queue.dead_letters)
    for _ in range(4):
        letter = await queue.get(queue.dead_letters)
        assert letter.headers["x-failure-reason"] == "unknown_type"
        assert letter.headers["x-original-routing-key"] == queue.name
        assert letter.reply_to is None
    assert not worker.lines(event="dead letter not stored")


ODD: Final[tuple[FieldValue, ...]] = (
    "many", "", -5, 2**40, 1.5, True, None, bytearray(b"\xff"), [1, [2]], {"a": {"b": bytearray(b"\x00")}},
    datetime.now(UTC), "x" * 9000,
)  # fmt: skip
OURS: Final = (
    copy_headers.ATTEMPT, copy_headers.SUSPECT, copy_headers.FIRST_FAILURE, copy_headers.ERROR_TEXT,
    copy_headers.ROUTING_KEY, "traceparent", "x-death", "CC",
)  # fmt: skip


@pytest.mark.parametrize("kind", ["quorum", "classic"])
async def test_tasks_without_id_whose_headers_have_odd_types_end_as_their_handler_says(
    start_worker: StartWorker, declare_queue: DeclareQueue, kind: str
) -> None:
    queue = await declare_queue(kind)
    await declare_retry_path(queue)
    exchange = queue.channel.default_exchange
    for odd in ODD:
        headers = {name: odd for name in OURS if name != "CC" or isinstance(odd, list)}
        for type_ in ("retry", "reject", "work"):
            await exchange.publish(aio_pika.Message(b'{"n": 1}', type=type_, headers=headers), queue.name)
    worker = start_worker(queues=queue.name, max_attempts="2", retry_initial_seconds="1", concurrency="10")
    await worker.wait_for_log(times=len(ODD), event="task", type="work", status="done")
    await queue.wait_for_ready(2 * len(ODD), queue.dead_letters)
    reasons = [(await queue.get(queue.dead_letters)).headers["x-failure-reason"] for _ in range(2 * len(ODD))]
    assert (reasons.count("failed"), reasons.count("rejected")) == (len(ODD), len(ODD))
    await queue.wait_for_ready(0)
    assert len(worker.lines(event="connected")) == 1


@every_version
async def test_a_message_of_20_mb_is_refused_by_the_broker_or_dead_lettered_and_others_are_done(
    broker: Broker, start_worker: StartWorker, queue: DeclaredQueue
) -> None:
    body = b'"' + b"x" * 20_000_000 + b'"'
    async with Publisher(broker.url) as publisher:
        try:
            await publisher.send(aio_pika.Message(body, type="work", message_id="large"), "", queue.name)
        except PublishFailedError:  # since RabbitMQ 4, a message has at most 16 MiB
            is_refused = True
        else:
            is_refused = False
    await queue.publish(n=1)
    worker = start_worker(queues=queue.name)
    await worker.wait_for_ledger("finished 1 draining=False")
    if not is_refused:
        letter = await queue.get(queue.dead_letters)
        assert (letter.body, letter.headers["x-failure-reason"]) == (body, "invalid_payload")
        assert "20000002 bytes" in str(letter.headers["x-failure-text"])
    await queue.wait_for_ready(0)
