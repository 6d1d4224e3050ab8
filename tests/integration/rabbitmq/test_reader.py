"""Readers as the operator has them, on a real broker."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from aiormq.abc import AbstractConnection

from taskqueue_operator.control.clock import loop_clock
from taskqueue_operator.control.observe.observer import Observer
from taskqueue_operator.control.observe.observers import Observers
from taskqueue_operator.rabbitmq.endpoint import Endpoint
from taskqueue_operator.rabbitmq.vhost import VhostFactory
from taskqueue_operator.resource.faults import Reason
from taskqueue_operator.resource.names import Key
from taskqueue_operator.scaling.reading import Doubt
from tests.cluster.broker import Broker
from tests.cluster.progress import until
from tests.integration.rabbitmq.conftest import PASSWORD, Connect, MakeUser, probed
from tests.integration.rabbitmq.management_proxy import SPOILS, proxied
from tests.integration.rabbitmq.silent_listener import SilentListener
from tests.unit.control.fake_cluster import FakeTelemetry

MANY = [f"jobs-{n}" for n in range(500)]


@asynccontextmanager
async def reading(telemetry: FakeTelemetry | None = None) -> AsyncIterator[Observers]:
    clock = loop_clock(datetime.now(UTC))
    readers = Observers(VhostFactory(clock), SilentListener(at_zero=False), telemetry or FakeTelemetry(), clock)
    yield readers
    await readers.close()


async def soon(true: Callable[[], bool], what: str) -> None:
    async with asyncio.timeout(120):
        while not true():  # noqa: ASYNC110  what is watched has no event for tests
            await asyncio.sleep(0.1)
    assert true(), what


def all_read(observer: Observer, queues: Collection[str]) -> bool:
    return all(observer.reading(queue).at_least is not None for queue in queues)


async def declare(amqp: AbstractConnection, queues: Collection[str]) -> None:
    channel = await amqp.channel()
    for queue in queues:
        await channel.queue_declare(queue, durable=True)


def connections(admin: httpx.Client, vhost: str) -> list[str]:
    """List the names of the open connections, without the connection of the test itself."""
    listing = admin.get(f"/vhosts/{quote(vhost, safe='')}/connections").raise_for_status().json()
    names = (item.get("client_properties", {}).get("connection_name", "") for item in listing)
    return [name for name in names if name]


async def test_one_endpoint_has_at_most_two_connections_for_any_number_of_queues(
    amqp: AbstractConnection, admin: httpx.Client, vhost: str, endpoint: Callable[..., Endpoint]
) -> None:
    await declare(amqp, MANY)
    missing = [f"missing-{n}" for n in range(20)]
    async with reading() as readers:
        for queue in [*MANY, *missing]:
            observer = readers.use(Key("media", queue), endpoint())
            observer.follow(Key("media", queue), queue)
        await soon(lambda: all_read(observer, MANY), "read")

        assert len(readers.running()) == 1
        assert all(observer.reading(queue).at_least is None for queue in missing)
        # The listing shows a connection a moment after it was made.
        await asyncio.to_thread(until, lambda: bool(connections(admin, vhost)), "connections listed", seconds=120)
        assert connections(admin, vhost) == ["taskqueue-operator probe"]


async def test_a_tenant_with_wrong_credentials_never_uses_the_connection_of_another_tenant(
    amqp: AbstractConnection, user: MakeUser, endpoint: Callable[..., Endpoint]
) -> None:
    await declare(amqp, ["jobs"])
    name = user("management")
    good, bad = Key("right", "jobs"), Key("wrong", "jobs")
    async with reading() as readers:
        ours = readers.use(good, endpoint(username=name, password=PASSWORD))
        theirs = readers.use(bad, endpoint(username=name, password=PASSWORD + "x"))
        ours.follow(good, "jobs")
        theirs.follow(bad, "jobs")
        await soon(lambda: all_read(ours, ["jobs"]) and ours.reading("jobs").unacked is not None, "read")
        await soon(lambda: set(theirs.faults) >= {"probe", "sweep"}, "refused")

        assert {fault.reason for fault in theirs.faults.values()} == {Reason.AUTHENTICATION_FAILED}
        nothing = theirs.reading("jobs")
        assert (nothing.at_least, nothing.at_most, nothing.unacked) == (None, None, None)
        assert ours.faults == {}


async def test_consumers_and_dead_letters_are_read_along_with_the_backlog(
    amqp: AbstractConnection, endpoint: Callable[..., Endpoint]
) -> None:
    await declare(amqp, ["jobs", "jobs.dlq", "idle"])
    channel = await amqp.channel()
    await channel.basic_consume("jobs", lambda _: asyncio.sleep(0))
    for _ in range(3):
        await channel.basic_publish(b"{}", routing_key="jobs.dlq")
    jobs, idle = Key("media", "jobs"), Key("media", "idle")
    async with reading() as readers:
        observer = readers.use(jobs, endpoint())
        observer.follow(jobs, "jobs", "idle", dead_letters="jobs.dlq")
        observer.follow(idle, "idle", dead_letters="idle.dlq")
        await soon(lambda: (observer.consumers("jobs"), observer.consumers("idle")) == (1, 0), "consumers")
        await soon(lambda: observer.dead_letters(jobs) == 3, "dead letters")
        assert observer.dead_letters(idle) is None
        assert observer.consumers("unknown") is None


OUTCOMES = {
    "fine": ("ok", None),
    "404": ("ManagementUnreachable", Doubt.NO_SWEEP),
    "401": ("AuthenticationFailed", Doubt.NO_SWEEP),
    "500": ("ManagementUnreachable", Doubt.NO_SWEEP),
    "half": ("ManagementUnreachable", Doubt.NO_SWEEP),
    "late": ("ManagementUnreachable", Doubt.NO_SWEEP),
    "page": ("ManagementUnreachable", Doubt.NO_SWEEP),
    "bare": ("NoFigures", Doubt.NO_FIGURES),
    "stopped": ("NotRunning", Doubt.NOT_RUNNING),
    "absent": ("missing", Doubt.ABSENT),
}


async def test_every_failure_of_a_sweep_has_a_reason_and_does_not_affect_probes(
    amqp: AbstractConnection, broker: Broker, endpoint: Callable[..., Endpoint]
) -> None:
    assert OUTCOMES.keys() == {"fine", *SPOILS}
    await declare(amqp, ["jobs"])
    channel = await amqp.channel()
    await channel.basic_publish(b"task", routing_key="jobs")
    clock = loop_clock(datetime.now(UTC))
    observers, told = {}, {}
    async with proxied(broker.management_url) as proxy, asyncio.TaskGroup() as group:
        for name in OUTCOMES:
            at, told[name] = endpoint(management_uri=f"{proxy.url}/{quote(name)}"), FakeTelemetry()
            rabbitmq = VhostFactory(clock).connect(at)
            observers[name] = Observer(at, rabbitmq, SilentListener(at_zero=False), told[name], clock)
            observers[name].follow(Key("media", name), "jobs")
        running = [group.create_task(observer.run()) for observer in observers.values()]
        await soon(lambda: observers["fine"].reading("jobs").at_most == 1, "sure")
        await soon(lambda: all(observer.reading("jobs").at_least == 1 for observer in observers.values()), "probed")
        found = {name: (outcome(told[name]), observer.reading("jobs").doubt) for name, observer in observers.items()}
        readings = [observer.reading("jobs") for observer in observers.values()]
        figures = {(reading.at_least, reading.at_most) for reading in readings}
        for task in running:
            task.cancel()

    assert found == OUTCOMES
    assert figures == {(1, 1), (1, None)}, "the probe is read in every case"


def outcome(telemetry: FakeTelemetry) -> str:
    """Return the outcome that all sweeps had."""
    sweeps: list[Any] = [event for event in telemetry.events if event[:2] == ("queried", "sweep")]
    outcomes: set[str] = {name for sweep in sweeps for name in sweep[3]}
    assert len(outcomes) == 1, outcomes
    return outcomes.pop()


@pytest.mark.fault
async def test_a_restarted_broker_with_many_queues_gets_no_more_requests_than_usual(
    amqp: AbstractConnection,
    broker: Broker,
    admin: httpx.Client,
    vhost: str,
    endpoint: Callable[..., Endpoint],
) -> None:
    await declare(amqp, MANY)
    await amqp.close()
    async with proxied(broker.management_url) as proxy, reading() as readers:
        for queue in MANY:
            observer = readers.use(Key("media", queue), endpoint(management_uri=f"{proxy.url}/fine"))
            observer.follow(Key("media", queue), queue)
        await soon(lambda: all_read(observer, MANY), "read")
        await asyncio.to_thread(broker.stop)
        await soon(lambda: "probe" in observer.faults, "noticed")
        try:
            assert observer.faults["probe"].reason is Reason.BROKER_UNREACHABLE
        finally:
            await asyncio.to_thread(broker.start)
        proxy.requests, started = 0, asyncio.get_running_loop().time()
        await soon(lambda: all_read(observer, MANY) and not observer.faults, "read again")
        seconds = asyncio.get_running_loop().time() - started

        # A sweep every 5 s, and four requests for the topology every 6 s; one of each may be in flight.
        assert proxy.requests <= (seconds / 5 + 2) + 4 * (seconds / 6 + 2)
        await asyncio.to_thread(until, lambda: bool(connections(admin, vhost)), "connections listed", seconds=120)
        assert connections(admin, vhost) == ["taskqueue-operator probe"]


@pytest.mark.parametrize("password", ["p@ss/w:rd%#?", "ÄÖ€ 𝄞 \"'\\`$(x)&<>", "a+b=c;d,e|f^~[]{}"])
async def test_a_password_may_have_any_character(
    connect: Connect, broker: Broker, user: MakeUser, vhost: str, password: str
) -> None:
    name = user("management", password=password)
    authority = f"{quote(name)}:{quote(password, safe='')}@127.0.0.1"
    keys = connect(username=name, password=password)
    uri = connect(
        uri=f"amqp://{authority}:{broker.amqp_port}/{quote(vhost, safe='')}",
        management_uri=f"http://{authority}:{broker.management_port}",
    )

    for rabbitmq in (keys, uri):
        assert (await probed(rabbitmq, "jobs")).missing
        assert await rabbitmq.sweep() == {}


async def test_queues_and_vhosts_of_any_name_are_read_through_a_proxy_with_a_path(
    connect: Connect, broker: Broker, amqp: AbstractConnection, admin: httpx.Client, vhost: str
) -> None:
    name = 'a queue/with 100% "odd"?&#+characters€'
    path = f"/queues/{quote(vhost, safe='')}/{quote(name, safe='')}"
    await asyncio.to_thread(admin.put, path, json={"durable": True})
    async with proxied(broker.management_url) as proxy:
        rabbitmq = connect(management_uri=f"{proxy.url}/any/")

        assert (await probed(rabbitmq, name)).ready == 0
        assert (await rabbitmq.sweep())[name].ready == 0
        assert name in (await rabbitmq.topology()).queues
        assert proxy.requests == 6
    assert not amqp.is_closed
