"""Failed reads: what is a fault, when the listener is notified, and that reading continues."""

import asyncio
from collections.abc import Collection, Mapping

import pytest
import structlog

from taskqueue_operator.control.observe.read_health import ReadHealth
from taskqueue_operator.resource.faults import Reason
from taskqueue_operator.scaling.reading import Probe
from tests.unit.control.fake_broker import AUTHENTICATION_FAILED, UNREACHABLE, FakeBroker
from tests.unit.control.fake_cluster import FakeTelemetry

from .recording_listener import OTHER, RecordingListener, observing, recorded_events

pytestmark = pytest.mark.looptime


@pytest.mark.slow
async def test_the_listener_is_notified_when_a_fault_begins_changes_and_ends(broker: FakeBroker) -> None:
    listener = RecordingListener()
    async with observing(broker, listener) as observer:
        await asyncio.sleep(10.5)
        assert listener.faults == []
        broker.fault = UNREACHABLE
        await asyncio.sleep(60)
        assert observer.fault is UNREACHABLE
        count = len(listener.faults)
        assert count == 4  # probe, sweep, topology, alarms: each once
        broker.fault = AUTHENTICATION_FAILED
        await asyncio.sleep(60)
        assert len(listener.faults) == 2 * count
        broker.fault = None
        await asyncio.sleep(60)
        assert len(listener.faults) == 3 * count
        assert observer.fault is None


@pytest.mark.slow
@pytest.mark.parametrize(("what", "period"), [("sweep", 5), ("topology", 6)])
async def test_one_lost_listing_is_no_fault_and_two_in_a_row_are(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch, what: str, period: float
) -> None:
    listener, telemetry, answer = RecordingListener(), FakeTelemetry(), getattr(broker, what)
    lost: list[bool] = []

    async def lose() -> object:
        if lost and lost.pop():
            raise UNREACHABLE
        return await answer()

    monkeypatch.setattr(broker, what, lose)
    async with observing(broker, listener, telemetry) as observer:
        await asyncio.sleep(1)
        for _ in range(3):
            lost[:] = [False, True]
            await asyncio.sleep(2 * period)
            assert (lost, observer.faults, listener.faults) == ([], {}, [])
        if what == "sweep":
            assert (
                sum(event[3] == {"BrokerUnreachable": 1} for event in recorded_events(telemetry, "queried", "sweep"))
                == 3
            )
        lost[:] = [True, True]
        await asyncio.sleep(2 * period)
        assert (observer.faults, len(listener.faults)) == ({what: UNREACHABLE}, 1)
        await asyncio.sleep(period)
        assert (observer.faults, len(listener.faults)) == ({}, 2)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["probe", "sweep"])
async def test_a_read_that_a_library_cancels_does_not_stop_the_observer(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    async def cancelled(*_: object) -> None:
        raise asyncio.CancelledError

    listener = RecordingListener()
    async with observing(broker, listener) as observer:
        await asyncio.sleep(1.5)
        monkeypatch.setattr(broker, what, cancelled)
        await asyncio.sleep(60)
        assert observer.faults
        monkeypatch.undo()
        await asyncio.sleep(60)
        assert observer.faults == {}


async def test_a_cancellation_that_a_library_replaces_by_an_error_cancels_the_read() -> None:
    async def read() -> bool:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ConnectionError from None
        return True

    health = ReadHealth(structlog.get_logger(), FakeTelemetry(), lambda: None)
    reading = asyncio.create_task(health.run("sweep", read))
    await asyncio.sleep(1)
    reading.cancel()
    await asyncio.wait([reading])
    assert reading.cancelled()


@pytest.mark.slow
async def test_an_internal_error_does_not_stop_the_observer(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken() -> None:
        raise ZeroDivisionError

    async with observing(broker, RecordingListener()) as observer:
        monkeypatch.setattr(broker, "sweep", broken)
        await asyncio.sleep(20)
        assert observer.faults["sweep"].reason is Reason.INTERNAL_ERROR
        monkeypatch.undo()
        await asyncio.sleep(6)
        assert "sweep" not in observer.faults


@pytest.mark.slow
async def test_repeated_failures_of_some_queues_are_one_fault(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = broker.probe

    async def broken(queues: Collection[str]) -> Mapping[str, Probe]:
        if "jobs" in queues:
            raise ZeroDivisionError
        return await probe(queues)

    listener = RecordingListener()
    async with observing(broker, listener) as observer:
        observer.follow(OTHER, *(f"q{n}" for n in range(200)))
        monkeypatch.setattr(broker, "probe", broken)
        await asyncio.sleep(20)
        assert [fault.reason for fault in observer.faults.values()] == ["InternalError"]
        assert observer.fault_at("q0") is not None
        monkeypatch.undo()
        await asyncio.sleep(5)
        assert observer.faults == {}
    assert len(listener.faults) == 2


async def test_a_fault_does_not_end_while_nothing_is_read(broker: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is accepted, and rounds in which every queue is still awaited, are no sign of recovery."""
    listener = RecordingListener()
    async with observing(broker, listener) as observer:
        broker.fault = UNREACHABLE
        await asyncio.sleep(20)
        changes = len(listener.faults)
        broker.fault = None

        async def no_answer(_: Collection[str]) -> Mapping[str, Probe]:
            return {}

        answers = broker.probe
        monkeypatch.setattr(broker, "probe", no_answer)
        await asyncio.sleep(20)
        faults = [observer.fault]
        monkeypatch.setattr(broker, "probe", answers)
        await asyncio.sleep(20)
        faults.append(observer.fault)
    assert faults == [UNREACHABLE, None]
    assert len(listener.faults) == 2 * changes, "each source has recovered once"
