"""Dead letters return to their queue on a real broker; the command is killed half way."""

import operator
from collections import Counter
from functools import partial

import aio_pika
import pytest
from pamqp.common import FieldTable

from tests.integration.commands.conftest import Dlq, Queues, dead_letter

COUNT = 1000
MOST = "10000"


async def test_a_redrive_that_is_killed_twice_loses_nothing_and_doubles_two_messages_at_most(
    dlq: Dlq, queues: Queues
) -> None:
    await queues.publish(*(dead_letter(n, queues.name) for n in range(COUNT)))
    for least in (COUNT // 5, COUNT // 2):
        process = dlq.start("redrive", "--queue", queues.dead_letters, "--all", "--rate", MOST)
        await queues.wait_for(queues.name, partial(operator.le, least))
        process.kill()
        process.wait()
        await queues.wait_until_returned(COUNT)
    done = await dlq.run("redrive", "--queue", queues.dead_letters, "--all", "--rate", MOST, "--output", "json")
    assert done.code == 0, done.errors
    assert done.json["redriven"] == done.json["ready"] > 0
    assert await queues.ready(queues.dead_letters) == 0
    returned = await queues.drained(queues.name)
    ids = Counter(message.message_id for message in returned)
    assert ids.keys() == {f"id-{n}" for n in range(COUNT)}
    assert ids.total() - COUNT <= 2
    message = returned[0]
    assert message.headers == {
        "x-original-exchange": "images",
        "x-original-routing-key": "image.resize",
        "ratio": pytest.approx(0.1),  # the library of the test publishes 32 bits
    }
    assert message.delivery_mode is aio_pika.DeliveryMode.PERSISTENT
    assert (message.content_type, message.body) == ("application/json", b'{"n": 0}')


async def test_only_the_selected_group_returns_and_what_cannot_return_stays_in_its_order(
    dlq: Dlq, queues: Queues
) -> None:
    await queues.publish(
        dead_letter(0, queues.name, x_failure_reason="timeout"),
        dead_letter(1, queues.name),
        dead_letter(2, "elsewhere"),
        aio_pika.Message(b"not json", message_id="id-3"),
        dead_letter(4, f"{queues.name}.gone"),
        dead_letter(5, queues.name),
        aio_pika.Message(b"x" * 200_000, message_id="id-6", headers={"x-original-queue": queues.name}),
    )
    done = await dlq.run("redrive", "--queue", queues.dead_letters, "--reason", "failed", "--output", "json")
    assert (done.code, done.json["redriven"], done.json["kept"]) == (4, 2, {"other-queue": 2})
    gone = f"{queues.name}.gone"
    done = await dlq.run("redrive", "--queue", queues.dead_letters, "--id", "id-4", "--to", gone, "--output", "json")
    assert (done.code, done.json["kept"]) == (4, {"unroutable": 1})
    done = await dlq.run("redrive", "--queue", queues.dead_letters, "--id", "id-6")
    assert done.code == 0, done.errors
    done = await dlq.run("redrive", "--queue", queues.dead_letters, "--reason", "nothing of this")
    assert done.code == 3
    returned = await queues.drained(queues.name)
    assert [(message.message_id, len(message.body)) for message in returned] == [
        ("id-1", 8),
        ("id-5", 8),
        ("id-6", 200_000),
    ]
    assert [message.message_id for message in await queues.drained(queues.dead_letters)] == [
        "id-0",
        "id-2",
        "id-3",
        "id-4",
    ]


async def test_a_full_queue_refuses_and_the_dead_letters_stay(dlq: Dlq, queues: Queues) -> None:
    full = f"{queues.name}.full"
    arguments: FieldTable = {"x-queue-type": "classic", "x-max-length": 1, "x-overflow": "reject-publish"}
    await queues.channel.declare_queue(full, durable=True, arguments=arguments)
    await queues.publish(*(dead_letter(n, full) for n in range(20)))
    done = await dlq.run("redrive", "--queue", queues.dead_letters, "--all", "--to", full, "--output", "json")
    assert done.code == 4
    assert done.json["gaveUp"]
    assert done.json["redriven"] + await queues.ready(queues.dead_letters) == 20
    assert await queues.ready(full) == done.json["redriven"]
    await queues.channel.queue_delete(full)


async def test_a_redrive_that_is_terminated_ends_in_good_order(dlq: Dlq, queues: Queues) -> None:
    await queues.publish(*(dead_letter(n, queues.name) for n in range(50)))
    process = dlq.start("redrive", "--queue", queues.dead_letters, "--all", "--rate", "1")
    await queues.wait_for(queues.name, lambda ready: ready >= 1)
    process.terminate()
    assert process.wait(120) == 130
    assert await queues.ready(queues.name) + await queues.ready(queues.dead_letters) == 50
    letters = await queues.drained(queues.dead_letters)
    assert not any("x-delivery-count" in letter.headers for letter in letters)
