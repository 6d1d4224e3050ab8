"""The rights that docs/topology.md grants to operator and workers are sufficient, and each of them is needed."""

import asyncio
from collections.abc import Collection
from dataclasses import replace
from urllib.parse import quote

import aio_pika
import pytest
from aio_pika.abc import AbstractIncomingMessage
from aio_pika.exceptions import AMQPError

from taskqueue_operator.resource.faults import BrokerFault, Reason
from taskqueue_operator.resource.names import CELERY_DELIVERY, CELERY_LEVELS, PARKING, interim_queue
from taskqueue_operator.topology.celery_delays import celery_delays
from taskqueue_operator.topology.diff import Declare, Remove
from taskqueue_operator.topology.fence import fence_topology
from taskqueue_operator.topology.objects import Binding, Exchange, Queue, Topology
from taskqueue_operator.topology.retry_path import retry_path
from taskqueue_operator.topology.switch import Switch
from taskqueue_worker.publishing.errors import PublishFailedError
from taskqueue_worker.publishing.ladder import Ladder
from taskqueue_worker.publishing.publisher import Publisher
from tests.cluster.broker import Broker
from tests.integration.harness.versions import every_version
from tests.permissions import Grant, documented, permissions
from tests.unit.topology.builders import OWNER, desired_topology
from tests.unit.topology.in_memory_vhost import all_objects

from .conftest import PASSWORD, Connect, MakeUser, probed
from .test_control_channel import ReportLog, listening, report_until_received, reporter, until

REPORTS = Exchange("taskqueue.reports", "direct")
QUEUES = "jobs", "jobs.1", interim_queue("jobs")


def life(queue: str) -> list[Topology]:
    """All that the operator declares for a TaskQueue, in its order."""
    return [
        with_shards(queue),
        retry_path(queue, OWNER),
        retry_path(queue, OWNER, has_limit=True),
        fence_topology(queue, OWNER),
        interim_topology(queue),
        retry_path(interim_queue(queue), OWNER, has_limit=True),
        retry_path(f"{queue}.1", OWNER, has_limit=True),
        last_level(celery_delays(queue, OWNER)),
    ]


def missing(topology: Topology, actual: Topology) -> set[object]:
    """Return what is not on the broker: names, bindings and policies."""
    names = {*topology.exchanges.keys() - actual.exchanges.keys(), *topology.queues.keys() - actual.queues.keys()}
    policies = {name for name, item in topology.policies.items() if actual.policies.get(name) != item}
    return {*names, *policies, *(topology.bindings - actual.bindings)}


def first_level() -> list[Declare]:
    """The exchange to which Celery publishes, with a queue."""
    name = CELERY_LEVELS[-1]
    binding = Binding(name, name, to_queue=True, routing_key="0")
    return [Declare(Exchange(name, "topic")), Declare(Queue(name)), Declare(binding)]


def last_level(delays: Topology) -> Topology:
    """What delays Celery's tasks, without the levels above the last one, which need the same rights."""
    kept = {PARKING, CELERY_LEVELS[0], CELERY_DELIVERY}
    return replace(
        delays,
        exchanges={name: item for name, item in delays.exchanges.items() if name in kept},
        queues={name: item for name, item in delays.queues.items() if name in kept},
        bindings=frozenset(binding for binding in delays.bindings if binding.source in kept),
    )


def with_shards(queue: str) -> Topology:
    """What is declared for a queue, and for shards of the same name."""
    desired = desired_topology(queue, exchange={"name": f"{queue}.events"})
    shards = desired_topology(queue, queue={"shards": {"count": 2}})
    entries = {binding for binding in shards.bindings if binding.to_queue}
    return replace(desired, queues={**desired.queues, **shards.queues}, bindings=desired.bindings | entries)


def interim_topology(queue: str) -> Topology:
    """What a migration declares: its queue, and the alternate exchange that leads to it."""
    switch = Switch.of(desired_topology(queue), OWNER)
    alternate = switch.alternate(switch.interim)
    return replace(alternate, queues={switch.interim.name: switch.interim}, policies={})


def operator_grants(queue: str) -> Collection[Grant]:
    return documented("operator", queue, f"{queue}.events")


@every_version
async def test_the_documented_rights_of_the_operator_are_sufficient(
    connect: Connect, broker: Broker, vhost: str, user: MakeUser
) -> None:
    keys = {"username": user("policymaker", **permissions(operator_grants("jobs"))), "password": PASSWORD}
    rabbitmq = connect(**keys)
    for topology in life("jobs"):
        await rabbitmq.apply([Declare(item) for item in all_objects(topology)])
        assert not missing(topology, await rabbitmq.topology())
    assert (await probed(rabbitmq, "jobs")).ready == (await probed(rabbitmq, "jobs.dlq")).ready == 0
    await rabbitmq.apply([Declare(REPORTS)])
    log, commands = ReportLog(), list[bytes]()
    async with reporter(broker, vhost, commands) as worker, listening(connect, log, "media/jobs", **keys) as channel:
        await report_until_received(worker, log, "media/jobs", b"{}")
        await channel.send([(log.entries[0][2], b"drain")])
        await until(lambda: commands == [b"drain"])
    await rabbitmq.apply([Remove(item) for topology in reversed(life("jobs")) for item in all_objects(topology)])
    assert not [queue for queue in (await rabbitmq.topology()).queues if queue.startswith("jobs")]


async def test_each_documented_right_of_the_operator_is_needed(connect: Connect, user: MakeUser) -> None:
    grants = [operator_grants(f"jobs{number}") for number in range(len(operator_grants("jobs")))]

    async def is_needed(number: int) -> Grant | None:
        missing = sorted(grants[number])[number]
        name = user("policymaker", **permissions(set(grants[number]) - {missing}))
        keys = {"username": name, "password": PASSWORD}
        try:
            await connect(**keys).apply([Declare(item) for part in life(f"jobs{number}") for item in all_objects(part)])
        except BrokerFault as fault:
            return None if fault.reason is Reason.PERMISSION_DENIED else missing
        async with listening(connect, ReportLog(), "media/jobs", **keys) as channel:
            await until(lambda: channel.fault is not None)
            assert channel.fault is not None
            return None if channel.fault.reason is Reason.PERMISSION_DENIED else missing

    assert set(await asyncio.gather(*map(is_needed, range(len(grants))))) == {None}


async def ignore(_: AbstractIncomingMessage) -> None:
    """Leave a message unacknowledged."""


async def delay_and_dead_letter(broker: Broker, vhost: str, name: str, seconds: int) -> None:
    """Do what a worker does with a queue `jobs`, a shard and its interim queue.

    Raises:
        PublishFailedError, AMQPError: A right is missing.
    """
    address = f"amqp://{name}:{quote(PASSWORD, safe='')}@127.0.0.1:{broker.amqp_port}/{quote(vhost, safe='')}"
    async with Publisher(address) as publisher:
        for queue in QUEUES:
            await Ladder(publisher).delay(aio_pika.Message(b"{}"), queue, seconds * 1000)
        await publisher.send(aio_pika.Message(b"{}"), "", "jobs.dlq")
        await publisher.send(aio_pika.Message(b"{}"), CELERY_LEVELS[-1], "0")
        async with await aio_pika.connect(address) as connection:
            channel = await connection.channel()
            for queue in QUEUES:
                await (await channel.get_queue(queue, ensure=False)).consume(ignore)
            reports = await channel.get_exchange("taskqueue.reports", ensure=False)
            await reports.publish(aio_pika.Message(b"{}"), "media/jobs", mandatory=False)


async def test_the_documented_rights_of_workers_are_sufficient_and_each_is_needed(
    connect: Connect, broker: Broker, vhost: str, user: MakeUser
) -> None:
    rabbitmq = connect()
    paths = (retry_path(queue, OWNER) for queue in QUEUES)
    for topology in (life("jobs")[0], interim_topology("jobs"), *paths):
        await rabbitmq.apply([Declare(item) for item in all_objects(topology)])
    await rabbitmq.apply([Declare(REPORTS), *first_level()])
    grants = sorted(documented("worker", "jobs", "jobs.events"))
    for number, missing in enumerate(grants):  # each declares a delay queue of its own: one that exists needs less
        name = user("", **permissions(set(grants) - {missing}))
        with pytest.raises((PublishFailedError, AMQPError)):
            await delay_and_dead_letter(broker, vhost, name, 1 << number)
    await delay_and_dead_letter(broker, vhost, user("", **permissions(grants)), 1 << len(grants))
