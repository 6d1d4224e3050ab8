"""When a worker reports, in virtual time. The protocol itself is tested with a real broker."""

import asyncio
from typing import Any

import pytest
from aiormq.exceptions import ChannelNotFoundEntity

from taskqueue_worker import control_channel
from taskqueue_worker.broker import BrokerUri
from taskqueue_worker.command_handler import CommandHandler
from taskqueue_worker.consume_gate import ConsumeGate
from taskqueue_worker.control_channel import ControlChannel
from taskqueue_worker.metrics import Metrics
from taskqueue_worker.protocol import Identity, Snapshot, State
from taskqueue_worker.tasks import Registry
from tests.unit.worker.messages import make_worker, runner_of

pytestmark = pytest.mark.looptime


class FakeConnection:
    """The used part of a connection, channel, queue and exchange. A publish raises `fault`, if set."""

    def __init__(self) -> None:
        self.reported_at: list[float] = []
        self.fault: Exception | None = None
        self.close_callbacks: set[Any] = set()
        self.opened = 0

    def channel(self) -> "FakeConnection":
        self.opened += 1
        return self

    async def initialize(self) -> None: ...
    async def consume(self, *_: object, **__: object) -> None: ...
    async def close(self) -> None: ...
    async def get_queue(self, *_: object, **__: object) -> "FakeConnection":
        return self

    async def get_exchange(self, *_: object, **__: object) -> "FakeConnection":
        return self

    async def publish(self, *_: object, **__: object) -> None:
        if self.fault is not None:
            raise self.fault
        self.reported_at.append(asyncio.get_running_loop().time())


class ControlChannelHarness:
    def __init__(self) -> None:
        self.connection = FakeConnection()
        self.state = State.CONSUMING
        self.blocked = 0
        self.gate = ConsumeGate()
        metrics = Metrics("ns/name", "1", ())
        worker = make_worker(runner_of(Registry()), metrics, self.gate.state_changed)
        self.commands = CommandHandler("me", self.gate, worker, asyncio.Event().wait, metrics)  # type: ignore[arg-type]  # never quiet
        identity = Identity("ns/name", "", "me", 50)
        self.channel = ControlChannel(BrokerUri("amqp://x"), identity, self.snapshot, self.commands, metrics)

    def snapshot(self) -> Snapshot:
        return Snapshot(self.state, 0, 0, 0, None, 0, 0, 0, None, self.blocked)

    def block(self, messages: int) -> None:
        self.blocked = messages
        self.gate.state_changed.set()

    def change_state(self, state: State) -> None:
        self.state = state
        self.gate.state_changed.set()


@pytest.fixture
async def harness(monkeypatch: pytest.MonkeyPatch) -> ControlChannelHarness:
    harness = ControlChannelHarness()

    async def connect(*_: object) -> FakeConnection:
        return harness.connection

    monkeypatch.setattr(control_channel, "connect", connect)
    return harness


async def report_times(harness: ControlChannelHarness, seconds: float) -> list[float]:
    """Run the channel for some seconds; return the times of its reports."""
    running = asyncio.ensure_future(harness.channel.run())
    await asyncio.sleep(seconds)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return harness.connection.reported_at


async def test_a_worker_reports_when_connected_and_every_15_seconds(harness: ControlChannelHarness) -> None:
    assert await report_times(harness, 31) == [0, 15, 30]


@pytest.mark.parametrize("state", [State.DRAINING, State.DRAINED])
async def test_a_draining_or_drained_worker_reports_every_5_seconds(
    harness: ControlChannelHarness, state: State
) -> None:
    harness.state = state
    assert await report_times(harness, 11) == [0, 5, 10]


async def test_a_worker_reports_a_change_of_state_at_once_and_no_other_event(harness: ControlChannelHarness) -> None:
    loop = asyncio.get_running_loop()
    loop.call_later(3, harness.gate.state_changed.set)
    loop.call_later(4, harness.change_state, State.DRAINING)
    loop.call_later(7, harness.change_state, State.CONSUMING)
    assert await report_times(harness, 23) == [0, 4, 7, 22]


async def test_a_worker_reports_at_once_when_dead_letters_begin_or_end_to_wait(harness: ControlChannelHarness) -> None:
    loop = asyncio.get_running_loop()
    for at, messages in ((2, 1), (3, 2), (4, 1), (6, 0)):
        loop.call_later(at, harness.block, messages)
    assert await report_times(harness, 20) == [0, 2, 6]


async def test_each_command_is_answered_at_once_in_its_own_report(harness: ControlChannelHarness) -> None:
    def send_twice() -> None:
        for _ in range(2):
            harness.commands.on_message(
                b'{"version":1,"id":"x","command":"report","incarnation":"me","installation":"a","epoch":1,"seq":1}'
            )

    asyncio.get_running_loop().call_later(2, send_twice)
    assert await report_times(harness, 10) == [0, 2, 2]


async def test_while_the_exchange_is_missing_it_retries_once_a_period_on_the_same_connection(
    harness: ControlChannelHarness,
) -> None:
    harness.connection.fault = ChannelNotFoundEntity("no exchange")
    asyncio.get_running_loop().call_later(40, lambda: setattr(harness.connection, "fault", None))
    assert await report_times(harness, 50) == [45]
    assert harness.connection.opened == 4


async def test_every_failure_is_retried_with_backoff(harness: ControlChannelHarness) -> None:
    harness.connection.fault = ZeroDivisionError("a bug")
    asyncio.get_running_loop().call_later(300, lambda: setattr(harness.connection, "fault", None))
    reported_at = await report_times(harness, 400)
    assert 300 <= reported_at[0] <= 330
    assert harness.connection.opened < 60
