"""The steps of a migration on a real broker: publishers notice nothing, and each message is received once."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Iterator

import pytest
from aiormq.abc import AbstractConnection, DeliveredMessage

from taskqueue_operator.rabbitmq.vhost import Vhost
from taskqueue_operator.topology.migration import Migration, Observed, Requested, Stage, migration
from taskqueue_operator.topology.objects import Topology
from tests.integration.harness.versions import every_version
from tests.integration.rabbitmq.conftest import Connect, declare, probed
from tests.unit.topology.builders import OWNER, desired_topology

MAIN, INTERIM = "jobs", "taskqueue.interim.jobs"
CLASSIC, QUORUM = desired_topology(queue={"type": "Classic"}), desired_topology()
WAITING = 200


class Clients:
    """Publishers that publish with confirms and `mandatory` until stopped, and workers that empty queues."""

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        self._numbers: Iterator[int] = itertools.count()
        self._is_publishing = True
        self.confirmed: set[bytes] = set()
        self.failures: list[Exception] = []
        self.received = Counter[bytes]()

    async def publish(self, count: int | None = None) -> None:
        channel = await self._connection.channel()
        for _ in itertools.count() if count is None else range(count):
            if not self._is_publishing:
                return
            body = b"%d" % next(self._numbers)
            try:
                await channel.basic_publish(body, exchange=MAIN, routing_key=MAIN, mandatory=True)
                self.confirmed.add(body)
                await asyncio.sleep(0.002)
            except Exception as error:  # noqa: BLE001  returned, refused, or an end of the channel
                self.failures.append(error)
                return

    def stop(self) -> None:
        self._is_publishing = False

    async def empty(self, queue: str) -> None:
        """Receive what is in a queue; return when it is empty."""
        channel = await self._connection.channel()

        async def receive(message: DeliveredMessage) -> None:
            self.received[message.body] += 1

        consumer = await channel.basic_consume(queue, receive, no_ack=True)
        while (await channel.queue_declare(queue, passive=True)).message_count:  # noqa: ASYNC110  of the broker
            await asyncio.sleep(0.02)
        assert consumer.consumer_tag is not None
        await channel.basic_cancel(consumer.consumer_tag)
        await channel.close()

    async def published(self, more: int) -> None:
        """Wait until so many further messages are confirmed."""
        enough = len(self.confirmed) + more
        async with asyncio.timeout(120):
            while len(self.confirmed) < enough and not self.failures:  # noqa: ASYNC110  a counter of other tasks
                await asyncio.sleep(0.01)


async def migrate(rabbitmq: Vhost, clients: Clients, desired: Topology, *, until: Stage | None = None) -> list[Stage]:
    """Migrate with workers that consume both queues; the operator ends after each step, and another one continues."""
    stages: list[Stage] = []
    while (found := await next_step(rabbitmq, desired)) is not None and found.stage is not until:
        assert found.obstacle is None
        stages.append(found.stage)
        await rabbitmq.apply(found.steps[:1])
        await clients.published(5)
        if found.stage is Stage.EMPTYING:
            await clients.empty(found.leaving)
    return stages


async def next_step(rabbitmq: Vhost, desired: Topology) -> Migration | None:
    actual = await rabbitmq.topology()
    found = migration(Requested(desired, OWNER, replaces=True, retries=True), actual, Observed({MAIN, INTERIM}))
    if found is None or found.stage is not Stage.EMPTYING:
        return found
    is_empty = (
        await probed(rabbitmq, found.leaving)
    ).ready == 0  # nothing is unacked: these workers acknowledge nothing
    observed = Observed({MAIN, INTERIM}, {MAIN}, {found.leaving} if is_empty else set())
    return migration(Requested(desired, OWNER, replaces=True, retries=True), actual, observed)


@every_version
@pytest.mark.parametrize(("before", "after"), [(CLASSIC, QUORUM), (QUORUM, CLASSIC)])
async def test_publishers_notice_nothing_and_each_message_is_received_once(
    connect: Connect, amqp: AbstractConnection, before: Topology, after: Topology
) -> None:
    rabbitmq, clients = connect(), Clients(amqp)
    await declare(rabbitmq, before)
    await clients.publish(WAITING)
    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(clients.publish())
        stages = await migrate(rabbitmq, clients, after)
        clients.stop()
    await clients.empty(MAIN)

    assert clients.failures == []
    assert clients.received == Counter(clients.confirmed)
    actual = await rabbitmq.topology()
    assert actual.queues[MAIN].arguments == after.queues[MAIN].arguments
    assert INTERIM not in {*actual.queues, *actual.exchanges, *actual.policies}
    assert stages.count(Stage.DELETING) == 2


async def test_an_abort_leads_publishers_back(connect: Connect, amqp: AbstractConnection) -> None:
    rabbitmq, clients = connect(), Clients(amqp)
    await declare(rabbitmq, CLASSIC)
    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(clients.publish())
        await migrate(rabbitmq, clients, QUORUM, until=Stage.EMPTYING)
        await clients.published(50)
        await migrate(rabbitmq, clients, CLASSIC)
        clients.stop()
    await clients.empty(MAIN)

    assert clients.failures == []
    assert clients.received == Counter(clients.confirmed)
    actual = await rabbitmq.topology()
    assert actual.queues[MAIN].arguments == CLASSIC.queues[MAIN].arguments
    assert INTERIM not in {*actual.queues, *actual.exchanges, *actual.policies}
