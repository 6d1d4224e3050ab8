"""There is one observer per endpoint; a failed observer is replaced."""

import asyncio

import pytest

from taskqueue_operator.control.clock import loop_clock
from taskqueue_operator.control.observe.observers import RESTART_SECONDS, Observers
from taskqueue_operator.resource.names import Key
from tests.unit.control.fake_broker import START, FakeBrokers, FakeEndpoint
from tests.unit.control.fake_cluster import KEY, FakeTelemetry

from .recording_listener import OTHER, RecordingListener

pytestmark = pytest.mark.looptime


async def test_an_endpoint_has_one_observer_until_its_last_user_releases_it() -> None:
    clock = loop_clock(START)
    brokers = FakeBrokers(clock)
    readers = Observers(brokers, RecordingListener(), FakeTelemetry(), clock)
    here, elsewhere = FakeEndpoint(b"a"), FakeEndpoint(b"b")
    observer = readers.use(KEY, here)
    assert readers.use(OTHER, here) is observer
    assert readers.use(OTHER, elsewhere) is not observer
    await asyncio.sleep(1)
    assert not brokers.brokers[here].closed
    readers.release(KEY)
    await asyncio.sleep(1)
    assert brokers.brokers[here].closed
    assert not brokers.brokers[elsewhere].closed
    await readers.close()
    assert brokers.brokers[elsewhere].closed


async def test_observers_that_start_together_soon_read_at_different_times() -> None:
    clock = loop_clock(START)
    brokers = FakeBrokers(clock)
    readers = Observers(brokers, RecordingListener(), FakeTelemetry(), clock)
    endpoints = [FakeEndpoint(str(number).encode()) for number in range(50)]
    for number, endpoint in enumerate(endpoints):
        key = Key("n", str(number))
        readers.use(key, endpoint).follow(key, "jobs")
    await asyncio.sleep(12)
    sweeps = [brokers.brokers[endpoint].sweeps for endpoint in endpoints]
    assert len({round(times[0], 3) for times in sweeps}) == 1
    assert len({round(times[1], 3) for times in sweeps}) == len(endpoints)
    await readers.close()


@pytest.mark.slow
async def test_a_failed_observer_is_replaced_at_its_next_use(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, listener = loop_clock(START), RecordingListener()
    brokers = FakeBrokers(clock)
    readers = Observers(brokers, listener, FakeTelemetry(), clock)
    observer = readers.use(KEY, FakeEndpoint())
    observer.follow(KEY, "jobs")
    other = readers.use(OTHER, FakeEndpoint(b"elsewhere"))
    await asyncio.sleep(0.9)  # between two probes

    def broken(_: Key) -> bool:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(listener, "is_scaled_to_zero", broken)
        await asyncio.sleep(1.1)
    assert readers.running() == [other]
    assert brokers.brokers[FakeEndpoint()].closed
    assert listener.faults == []
    await asyncio.sleep(RESTART_SECONDS)
    assert [keys for _, keys in listener.faults] == [{KEY}], "its users are notified, and use another observer"

    anew = readers.use(KEY, FakeEndpoint())
    anew.follow(KEY, "jobs")
    assert anew is not observer
    probes_before = len(brokers.brokers[FakeEndpoint()].probes)
    await asyncio.sleep(3)
    assert len(brokers.brokers[FakeEndpoint()].probes) > probes_before

    await readers.close()
    await asyncio.sleep(2 * RESTART_SECONDS)
    assert len(listener.faults) == 1, "a closed observer has not failed"


@pytest.mark.slow
async def test_a_failed_observer_can_be_released(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, listener = loop_clock(START), RecordingListener()
    readers = Observers(FakeBrokers(clock), listener, FakeTelemetry(), clock)
    monkeypatch.delattr(RecordingListener, "is_scaled_to_zero")
    readers.use(KEY, FakeEndpoint()).follow(KEY, "jobs")
    await asyncio.sleep(1)
    assert readers.running() == []
    readers.release(KEY)
    await readers.close()
