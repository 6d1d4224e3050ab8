"""Hostile servers cost only the endpoints that name them: a real broker beside them is read all the time."""

import asyncio
import os
import socket
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from aiormq.abc import AbstractConnection
from typing_extensions import override

from taskqueue_operator.control.clock import loop_clock
from taskqueue_operator.control.observe.observer import Observer
from taskqueue_operator.control.observe.observers import Observers
from taskqueue_operator.rabbitmq.endpoint import Endpoint
from taskqueue_operator.rabbitmq.vhost import VhostFactory
from taskqueue_operator.resource.faults import Reason
from taskqueue_operator.resource.names import Key
from tests.cluster.broker import Broker
from tests.integration.rabbitmq.silent_listener import SilentListener
from tests.unit.control.fake_cluster import FakeTelemetry

from .hostile_servers import AMQP, MIB, hostile, hostile_process

MEMORY: Final = 160 * MIB
"""More than a parsed answer may take; far less than what the servers send."""


class Listener(SilentListener):
    """Counts how often the health of a broker changed, by TaskQueue."""

    def __init__(self) -> None:
        super().__init__(at_zero=True)
        self.changes: Counter[Key] = Counter()

    @override
    def on_broker_health(self, keys: Collection[Key]) -> None:
        self.changes.update(keys)


class Readers:
    """One reader for each name."""

    def __init__(self, observers: Observers) -> None:
        self._observers = observers

    def start(self, name: str, endpoint: Endpoint) -> Observer:
        key = Key("media", name)
        observer = self._observers.use(key, endpoint)
        observer.follow(key, "jobs")
        observer.subscribe_reports(key, enabled=True)
        return observer


@pytest.fixture
def listener() -> Listener:
    return Listener()


@asynccontextmanager
async def reading(listener: Listener) -> AsyncIterator[Readers]:
    clock = loop_clock(datetime.now(UTC))
    observers = Observers(VhostFactory(clock), listener, FakeTelemetry(), clock)
    try:
        yield Readers(observers)
    finally:
        await observers.close()


async def soon(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(120):
        while not true():  # noqa: ASYNC110  what is watched has no event for tests
            await asyncio.sleep(0.02)


def resident() -> int:
    """Return the memory of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_hostile_servers_do_not_disturb_the_reader_of_another_broker(
    amqp: AbstractConnection, endpoint: Callable[..., Endpoint], listener: Listener
) -> None:
    await (await amqp.channel()).queue_declare("jobs", durable=True)
    async with hostile_process() as ports, reading(listener) as readers:
        largest = before = resident()
        good = readers.start("good", endpoint())
        bad = {
            **{
                f"http {name}": readers.start(f"http {name}", endpoint(management_uri=f"http://127.0.0.1:{port}"))
                for name, port in ports["http"].items()
            },
            **{
                f"amqp {name}": readers.start(f"amqp {name}", endpoint(port=str(port)))
                for name, port in ports["amqp"].items()
            },
        }
        async with asyncio.timeout(120):
            while not all(observer.fault for observer in bad.values()) or good.reading("jobs").at_most is None:
                largest = max(largest, resident())
                await asyncio.sleep(0.02)
        reasons = {name: observer.fault.reason for name, observer in bad.items() if observer.fault}
        assert good.faults == {}

    assert listener.changes[Key("media", "good")] == 0
    assert reasons == {
        name: Reason.MANAGEMENT_UNREACHABLE if name.startswith("http") else Reason.BROKER_UNREACHABLE for name in bad
    }
    assert largest - before < MEMORY


@pytest.fixture
def silent_dns(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave names that end in `.silent` without an answer until the test ends."""
    answers, ended = socket.getaddrinfo, threading.Event()

    def getaddrinfo(host: str, *rest: Any, **more: Any) -> Any:  # noqa: ANN401  the shape of the library
        if str(host).endswith(".silent"):
            ended.wait()
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return answers(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield
    ended.set()


@pytest.mark.usefixtures("silent_dns")
async def test_hosts_whose_dns_does_not_answer_do_not_disturb_the_reader_of_another_broker(
    amqp: AbstractConnection, endpoint: Callable[..., Endpoint], listener: Listener
) -> None:
    await (await amqp.channel()).queue_declare("jobs", durable=True)
    async with reading(listener) as readers:
        silent = [readers.start(f"silent-{n}", endpoint(host=f"{n}.silent")) for n in range(20)]
        await soon(lambda: all("probe" in observer.faults for observer in silent))
        by_name = endpoint(host="localhost", management_uri=endpoint().management.replace("127.0.0.1", "localhost"))
        good = readers.start("good", by_name)
        await soon(lambda: good.reading("jobs").at_most is not None)
        assert good.faults == {}
        assert {observer.faults["probe"].reason for observer in silent} == {Reason.BROKER_UNREACHABLE}

    assert listener.changes[Key("media", "good")] == 0


async def test_a_broker_that_cannot_be_read_stays_unreadable(
    broker: Broker, endpoint: Callable[..., Endpoint], listener: Listener
) -> None:
    """A connection that is accepted is no sign of recovery: nothing was read."""
    async with hostile({"close": AMQP["close"]}) as servers, reading(listener) as readers:
        observers = [
            readers.start("management", endpoint(port=str(broker.management_port))),
            readers.start("close", endpoint(port=str(servers.ports["close"]))),
        ]
        await soon(lambda: all("probe" in observer.faults for observer in observers))
        while servers.connects["close"] < 8:
            assert all("probe" in observer.faults for observer in observers)
            await asyncio.sleep(0.01)

    assert [listener.changes[Key("media", name)] for name in ("management", "close")] == [1, 1]


async def test_refused_credentials_are_not_tried_again_and_again_and_new_ones_at_once(
    broker: Broker, amqp: AbstractConnection, endpoint: Callable[..., Endpoint], listener: Listener
) -> None:
    await (await amqp.channel()).queue_declare("jobs", durable=True)
    logins = refusals(broker)
    async with reading(listener) as readers:
        wrong = readers.start("jobs", endpoint(username="stranger", password="wrong"))
        await soon(lambda: {"probe", "sweep"} <= wrong.faults.keys())
        assert wrong.faults["probe"].reason is wrong.faults["sweep"].reason is Reason.AUTHENTICATION_FAILED
        assert refusals(broker) - logins <= 4

        right = readers.start("jobs", endpoint())
        await soon(lambda: right.reading("jobs").at_least is not None)


def refusals(broker: Broker) -> int:
    """Count the logins that the broker refused, over AMQP and HTTP."""
    log = broker.processes.log("rabbitmq").read_text(errors="replace")
    return log.count("failed to authenticate: user 'stranger'")


async def test_sweeps_share_one_http_connection(
    amqp: AbstractConnection, broker: Broker, endpoint: Callable[..., Endpoint], listener: Listener
) -> None:
    """A connection lives from one sweep to the next: alarms are read in between."""
    await (await amqp.channel()).queue_declare("jobs", durable=True)
    accepted = Counter[str]()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", broker.management_port)

        async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            while data := await source.read(1 << 16):
                accepted["sweeps"] += data.count(b"enable_queue_totals")
                target.write(data)
            target.close()

        try:
            await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))
        finally:
            far_writer.transport.abort()

    async with hostile({"proxy": forward}) as proxy, reading(listener) as readers:
        observer = readers.start("jobs", endpoint(management_uri=f"http://127.0.0.1:{proxy.ports['proxy']}"))
        await soon(lambda: accepted["sweeps"] >= 4)
        assert observer.faults == {}
    # Two at the beginning: the first sweep and the first reading of the topology are sent at the same time. One more
    # after each pause of a busy machine that is longer than RabbitMQ keeps a connection.
    assert proxy.connects["proxy"] < accepted["sweeps"]
