"""When a worker reports, in virtual time. The conversation itself is tested with a real broker."""

import asyncio
from typing import Any

import pytest
from aiormq.exceptions import ChannelNotFoundEntity

from taskqueue_worker import control_channel as control
from taskqueue_worker.broker import BrokerUri
from taskqueue_worker.command_handler import CommandHandler
from taskqueue_worker.consume_gate import ConsumeGate
from taskqueue_worker.control_channel import ControlChannel
from taskqueue_worker.metrics import Metrics
from taskqueue_worker.protocol import Facts, Identity, State
from taskqueue_worker.runner import Runner
from taskqueue_worker.tasks import Registry
from taskqueue_worker.worker import Worker

pytestmark = pytest.mark.looptime


class Line:
    """As much of a connection, channel, queue and exchange as is used. `fault` is raised by what is published."""

    def __init__(self) -> None:
        self.sent: list[float] = []
        self.fault: Exception | None = None
        self.close_callbacks: set[Any] = set()
        self.opened = 0

    def channel(self) -> "Line":
        self.opened += 1
        return self

    async def initialize(self) -> None: ...
    async def consume(self, *_: object, **__: object) -> None: ...
    async def close(self) -> None: ...
    async def get_queue(self, *_: object, **__: object) -> "Line":
        return self

    async def get_exchange(self, *_: object, **__: object) -> "Line":
        return self

    async def publish(self, *_: object, **__: object) -> None:
        if self.fault is not None:
            raise self.fault
        self.sent.append(asyncio.get_running_loop().time())


class Bench:
    def __init__(self) -> None:
        self.line = Line()
        self.state = State.CONSUMING
        self.intake = ConsumeGate()
        metrics = Metrics("ns/name", "1", ())
        runner = Runner(Registry(), timeout_seconds=50, threads=1, draining=self.intake.leaving)
        worker = Worker(runner, 1, metrics, self.intake.news)
        self.orders = CommandHandler("me", self.intake, worker, asyncio.Event().wait, metrics)  # type: ignore[arg-type]  # never proves
        identity = Identity("ns/name", "", "me", 50)
        self.control = ControlChannel(BrokerUri("amqp://x"), identity, self.facts, self.orders, metrics)

    def facts(self) -> Facts:
        return Facts(self.state, 0, 0, 0, None, 0, 0, 0, None)

    def becomes(self, state: State) -> None:
        self.state = state
        self.intake.news.set()


@pytest.fixture
async def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    bench = Bench()

    async def connect(*_: object) -> Line:
        return bench.line

    monkeypatch.setattr(control, "connect", connect)
    return bench


async def listened(bench: Bench, seconds: float) -> list[float]:
    """Let it run from the start, and cancel it then; when it reported."""
    conversation = asyncio.ensure_future(bench.control.run())
    await asyncio.sleep(seconds)
    conversation.cancel()
    await asyncio.gather(conversation, return_exceptions=True)
    return bench.line.sent


async def test_it_reports_when_connected_and_every_15_seconds(bench: Bench) -> None:
    assert await listened(bench, 31) == [0, 15, 30]


@pytest.mark.parametrize("state", [State.DRAINING, State.DRAINED])
async def test_it_reports_every_5_seconds_while_it_is_drained(bench: Bench, state: State) -> None:
    bench.state = state
    assert await listened(bench, 11) == [0, 5, 10]


async def test_it_reports_a_change_of_state_at_once_and_no_other_news(bench: Bench) -> None:
    loop = asyncio.get_running_loop()
    loop.call_later(3, bench.intake.news.set)
    loop.call_later(4, bench.becomes, State.DRAINING)
    loop.call_later(7, bench.becomes, State.CONSUMING)
    assert await listened(bench, 23) == [0, 4, 7, 22]


async def test_it_answers_at_once_each_command_with_a_report_of_its_own(bench: Bench) -> None:
    def ask() -> None:
        for _ in range(2):
            bench.orders.take(
                b'{"version":1,"id":"x","command":"report","incarnation":"me","installation":"a","epoch":1,"seq":1}'
            )

    asyncio.get_running_loop().call_later(2, ask)
    assert await listened(bench, 10) == [0, 2, 2]


async def test_while_there_is_no_exchange_it_asks_once_a_period_on_the_same_connection(bench: Bench) -> None:
    bench.line.fault = ChannelNotFoundEntity("no exchange")
    asyncio.get_running_loop().call_later(40, lambda: setattr(bench.line, "fault", None))
    assert await listened(bench, 50) == [45]
    assert bench.line.opened == 4


async def test_whatever_goes_wrong_it_tries_again_with_backoff(bench: Bench) -> None:
    bench.line.fault = ZeroDivisionError("a fault of ours")
    asyncio.get_running_loop().call_later(300, lambda: setattr(bench.line, "fault", None))
    sent = await listened(bench, 400)
    assert 300 <= sent[0] <= 330
    assert bench.line.opened < 60
