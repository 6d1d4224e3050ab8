"""Listing, showing and deleting dead letters of a real broker, and what is said when that is not possible."""

import asyncio
import operator
from contextlib import nullcontext
from functools import partial
from itertools import product

import aio_pika
import pytest

from taskqueue_operator.commands.operations import survey
from taskqueue_operator.dead_letters.selection import Selection
from taskqueue_operator.rabbitmq.dead_letter_connection import BROWSE, opened
from taskqueue_operator.rabbitmq.secret import parse_keys
from taskqueue_operator.resource.faults import Fault
from tests.cluster import ports
from tests.cluster.broker import Broker
from tests.integration.commands.conftest import Dlq, MakeUser, Queues, dead_letter
from tests.integration.harness.versions import every_version

COUNT = 1000
LISTINGS = 25


async def test_a_thousand_dead_letters_are_listed_in_groups_and_stay_in_their_order(dlq: Dlq, queues: Queues) -> None:
    await queues.publish(
        *(dead_letter(n, queues.name, x_failure_class="OSError" if n % 4 else "KeyError") for n in range(COUNT))
    )
    done = await dlq.run("list", "--queue", queues.dead_letters, "--output", "json")
    assert done.code == 0, done.errors
    assert (done.json["ready"], done.json["read"]) == (COUNT, COUNT)
    assert [(group["class"], group["count"]) for group in done.json["groups"]] == [("OSError", 750), ("KeyError", 250)]
    assert done.json["groups"][0]["oldest"] == "2026-11-28T12:00:00+00:00"
    table = await dlq.run("list", "--queue", queues.dead_letters)
    assert table.output.splitlines()[1].split()[:4] == ["image.resize", "failed", "OSError", "750"]
    left = await queues.drained(queues.dead_letters)
    assert [letter.message_id for letter in left] == [f"id-{n}" for n in range(COUNT)]
    assert not any("x-delivery-count" in letter.headers for letter in left)


@every_version
async def test_listings_lose_no_dead_letter(broker: Broker, queues: Queues) -> None:
    """RabbitMQ 4.0 drops a message at its 21st return, unless the queue has the limit that the operator declares."""
    unlimited = f"{queues.name}.unlimited"
    await queues.channel.declare_queue(unlimited, durable=True, arguments={"x-queue-type": "quorum"})
    names = (queues.dead_letters, unlimited)
    for name in names:
        for n in range(20):
            await queues.channel.default_exchange.publish(dead_letter(n, queues.name), name)
        await queues.wait_until_described(name)
    keys = {"uri": broker.url.encode(), "management-uri": broker.management_url.encode()}
    endpoint = parse_keys("The test", keys, None)
    for name, _ in product(names, range(LISTINGS)):
        is_refused = broker.version == "4.0" and name == unlimited
        # What the listing before held is ready again a moment after its connection was closed.
        await queues.wait_for(name, partial(operator.eq, 20))
        with pytest.raises(Fault, match="delivery limit") if is_refused else nullcontext():
            async with opened(endpoint, name, BROWSE) as queue:
                found = await survey(queue, Selection(), limit=100, stop=asyncio.Event())
            assert found.groups.count == 20
    for name in names:
        await queues.wait_for(name, partial(operator.eq, 20))
        assert [letter.message_id for letter in await queues.drained(name)] == [f"id-{n}" for n in range(20)]
    await queues.channel.queue_delete(unlimited)


async def test_hostile_dead_letters_cost_only_themselves(dlq: Dlq, queues: Queues) -> None:
    await queues.publish(
        dead_letter(1, queues.name, x_failure_reason="\x1b[2Jred", Authorization="canary", x_death=[[["deep"]]] * 50),
        aio_pika.Message(b"\xff" * 3_000_000, message_id="large", headers={"x-original-queue": "q" * 3000}),
        dead_letter(3, queues.name, **{f"header-{n}": "v" * 500 for n in range(200)}),
    )
    listed = await dlq.run("list", "--queue", queues.dead_letters, "--output", "json")
    assert sum(group["count"] for group in listed.json["groups"]) == 3, listed.errors
    shown = await dlq.run("show", "--queue", queues.dead_letters, "--body")
    assert shown.code == 0, shown.errors
    assert "\x1b" not in shown.output
    assert "canary" not in shown.output
    assert len(shown.output) < 100_000
    large = await dlq.run("show", "--queue", queues.dead_letters, "--id", "large", "--output", "json")
    assert large.json["deadLetters"][0]["bytes"] == 3_000_000


async def test_a_purge_deletes_the_selected_group_only(dlq: Dlq, queues: Queues) -> None:
    await queues.publish(
        *(dead_letter(n, queues.name, x_failure_reason="failed" if n % 2 else "timeout") for n in range(10))
    )
    refused = await dlq.run("purge", "--queue", queues.dead_letters, "--reason", "failed")
    assert (refused.code, "--yes" in refused.errors) == (2, True)
    done = await dlq.run("purge", "--queue", queues.dead_letters, "--reason", "failed", "--yes", "--output", "json")
    assert done.code == 0, done.errors
    assert (done.json["selected"], done.json["purged"]) == (5, 5)
    assert [letter.message_id for letter in await queues.drained(queues.dead_letters)] == [
        f"id-{n}" for n in (0, 2, 4, 6, 8)
    ]


async def test_what_is_missing_or_forbidden_is_named(dlq: Dlq, queues: Queues, broker: Broker) -> None:
    await queues.publish(dead_letter(1, queues.name))
    missing = await dlq.run("list", "--queue", "no.such.queue")
    assert (missing.code, 'no queue "no.such.queue"' in missing.errors) == (1, True)
    nothing = await dlq.run("show", "--queue", queues.dead_letters, "--id", "other")
    assert nothing.code == 3
    away = await dlq.run("list", "--queue", "q", RABBITMQ_URL=f"amqp://guest:guest@127.0.0.1:{ports.free(1)[0]}/")
    assert (away.code, "connection refused" in away.errors) == (1, True)
    password = await dlq.run("list", "--queue", "q", RABBITMQ_URL=broker.url.replace("guest:guest", "guest:canary"))
    assert (password.code, "RABBITMQ_PASSWORD" in password.errors, "canary" in password.errors) == (1, True, False)
    vhost = await dlq.run("list", "--queue", "q", RABBITMQ_URL=broker.url + "nowhere")
    assert (vhost.code, 'no vhost "nowhere"' in vhost.errors) == (1, True)


@pytest.mark.parametrize(
    ("permissions", "arguments", "named"),
    [
        ({"configure": "", "write": ".*", "read": ""}, ["list"], "read queue"),
        ({"configure": "", "write": "", "read": ".*"}, ["redrive", "--all"], 'write exchange "amq.default"'),
    ],
)
async def test_a_missing_permission_is_named_before_anything_changes(
    user: MakeUser, queues: Queues, permissions: dict[str, str], arguments: list[str], named: str
) -> None:
    await queues.publish(dead_letter(1, queues.name))
    dlq, name = user(permissions)
    done = await dlq.run(*arguments, "--queue", queues.dead_letters)
    assert done.code == 1
    assert named in done.errors
    assert name in done.errors
    (letter,) = await queues.drained(queues.dead_letters)
    assert "x-delivery-count" not in letter.headers
