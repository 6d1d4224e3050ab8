"""When a worker reports, in virtual time. The protocol itself is tested with a real broker."""

import asyncio
from typing import Any

import pytest
from aiormq.exceptions import ChannelNotFoundEntity

from taskqueue_drain.aio_pika_channel import ControlChannel
from tests.unit.taskqueue_drain.fake_runtime import FakeRuntime, Recorder, joined

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
        self.runtime = FakeRuntime()
        self.recorder = Recorder()
        self.changed = asyncio.Event()
        self.protocol = joined(self.runtime, self.recorder)
        self.channel = ControlChannel(self.protocol, self.connect, self.changed, self.recorder)  # type: ignore[arg-type]  # a fake

    async def connect(self) -> FakeConnection:
        return self.connection

    def block(self, messages: int) -> None:
        self.runtime.blocked = messages
        self.changed.set()

    def set_consuming(self, is_consuming: bool) -> None:  # noqa: FBT001 - for call_later
        self.runtime.is_consuming = is_consuming
        self.changed.set()

    def become_quiet(self) -> None:
        self.runtime.is_quiet = True
        self.changed.set()

    def send(self, verb: str) -> None:
        self.channel.receive(
            b'{"version":1,"id":"x","command":"%s","incarnation":"me","installation":"a","epoch":1,"seq":1,"lease_seconds":9}'
            % verb.encode()
        )


@pytest.fixture
async def harness() -> ControlChannelHarness:
    return ControlChannelHarness()


async def report_times(harness: ControlChannelHarness, seconds: float) -> list[float]:
    """Run the channel for some seconds; return the times of its reports."""
    running = asyncio.ensure_future(harness.channel.run())
    await asyncio.sleep(seconds)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return harness.connection.reported_at


async def test_a_worker_reports_when_connected_and_every_15_seconds(harness: ControlChannelHarness) -> None:
    assert await report_times(harness, 31) == [0, 15, 30]


async def test_what_changes_before_the_end_is_reported(harness: ControlChannelHarness) -> None:
    running = asyncio.ensure_future(harness.channel.run())
    await asyncio.sleep(1)
    harness.protocol.begin_shutdown()
    await harness.channel.flush()
    running.cancel()
    assert harness.protocol.reported_state == "leaving"
    assert harness.connection.reported_at == [0, 1]


async def test_the_end_does_not_wait_for_a_broker_that_reads_nothing(harness: ControlChannelHarness) -> None:
    harness.connection.fault = ChannelNotFoundEntity()
    running = asyncio.ensure_future(harness.channel.run())
    await asyncio.sleep(1)
    await harness.channel.flush()
    assert asyncio.get_running_loop().time() == 3
    running.cancel()


async def test_a_draining_worker_reports_every_5_seconds_and_what_has_changed_at_once(
    harness: ControlChannelHarness,
) -> None:
    loop = asyncio.get_running_loop()
    loop.call_later(1, harness.send, "drain")
    loop.call_later(3, harness.become_quiet)
    assert await report_times(harness, 9) == [0, 1, 3, 8]


async def test_a_drain_lease_expires_without_a_connection(harness: ControlChannelHarness) -> None:
    loop = asyncio.get_running_loop()
    loop.call_later(1, harness.send, "drain")
    loop.call_later(2, harness.become_quiet)
    loop.call_later(3, lambda: setattr(harness.connection, "fault", OSError("lost")))
    await report_times(harness, 11)
    assert harness.runtime.calls == ["stop", "consume"]
    assert harness.recorder.events == ["draining by a", "lost", "drain lease expired"]


async def test_a_worker_reports_a_change_of_state_at_once_and_no_other_event(harness: ControlChannelHarness) -> None:
    loop = asyncio.get_running_loop()
    loop.call_later(3, harness.changed.set)
    loop.call_later(4, harness.set_consuming, False)
    loop.call_later(7, harness.set_consuming, True)
    assert await report_times(harness, 23) == [0, 4, 7, 22]


async def test_a_worker_reports_at_once_when_dead_letters_begin_or_end_to_wait(harness: ControlChannelHarness) -> None:
    loop = asyncio.get_running_loop()
    for at, messages in ((2, 1), (3, 2), (4, 1), (6, 0)):
        loop.call_later(at, harness.block, messages)
    assert await report_times(harness, 20) == [0, 2, 6]


async def test_each_command_is_answered_at_once_in_its_own_report(harness: ControlChannelHarness) -> None:
    for _ in range(2):
        asyncio.get_running_loop().call_later(2, harness.send, "report")
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


async def test_a_channel_that_is_cancelled_while_it_closes_a_connection_ends(harness: ControlChannelHarness) -> None:
    closing = asyncio.Event()

    async def close() -> None:
        closing.set()
        await asyncio.sleep(0.5)  # as with a memory alarm

    harness.connection.close = close  # type: ignore[method-assign]  # a fake
    harness.connection.fault = OSError("blocked")
    running = asyncio.ensure_future(harness.channel.run())
    await closing.wait()
    running.cancel()
    done, _ = await asyncio.wait({running}, timeout=60)
    assert done
