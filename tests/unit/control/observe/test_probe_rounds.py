"""Queues are probed in rounds, cut into batches; those at zero more often."""

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping
from itertools import pairwise

import pytest
import structlog

from taskqueue_operator.control.observe.observer import Observer
from taskqueue_operator.control.observe.probe_rounds import ProbeRounds
from taskqueue_operator.control.observe.read_health import ReadHealth
from taskqueue_operator.control.observe.rounds import BATCH_INTERVAL_SECONDS
from taskqueue_operator.resource.names import Key
from taskqueue_operator.scaling.reading import Probe
from tests.unit.control.fake_broker import FakeBroker
from tests.unit.control.fake_cluster import KEY, FakeTelemetry

from .recording_listener import OTHER, RecordingListener, observing

pytestmark = pytest.mark.looptime


def probe_times(broker: FakeBroker, queue: str) -> list[float]:
    return [at for at, queues in broker.probes if queue in queues]


def steps(times: list[float]) -> set[float]:
    return {round(later - earlier, 3) for earlier, later in pairwise(times)}


def follow_at_zero(observer: Observer, listener: RecordingListener, count: int) -> list[str]:
    queues = [f"q{n}" for n in range(count)]
    for queue in queues:
        listener.at_zero.add(Key("n", queue))
        observer.follow(Key("n", queue), queue)
    return queues


async def test_queues_at_zero_are_probed_more_often_than_others(broker: FakeBroker) -> None:
    listener = RecordingListener()
    listener.at_zero.add(OTHER)
    async with observing(broker, listener) as observer:
        observer.follow(OTHER, "more")
        await asyncio.sleep(10.5)
    assert steps(probe_times(broker, "jobs")) == {1.0}
    assert steps(probe_times(broker, "more")) == {0.25}
    assert [round(at, 3) for at in broker.sweeps] == [0, 5, 10]


@pytest.mark.slow
@pytest.mark.parametrize(("count", "period"), [(10, 0.25), (1000, 0.25), (8000, 2.0)])
async def test_many_queues_at_zero_are_probed_less_often(broker: FakeBroker, count: int, period: float) -> None:
    listener = RecordingListener()
    async with observing(broker, listener) as observer:
        queues = follow_at_zero(observer, listener, count)
        await asyncio.sleep(10)
    assert all(steps(probe_times(broker, queue)) == {period} for queue in queues[::100])


@pytest.mark.slow
async def test_a_round_of_many_queues_is_split_into_small_batches_at_equal_intervals(broker: FakeBroker) -> None:
    async with observing(broker, RecordingListener()) as observer:
        for n in range(1000):
            observer.follow(Key("n", str(n)), f"q{n}")
        await asyncio.sleep(10)
    assert max(len(queues) for _, queues in broker.probes) < 100
    assert steps([at for at, _ in broker.probes]) == {BATCH_INTERVAL_SECONDS}


@pytest.mark.slow
async def test_a_slow_batch_delays_no_other_batch_and_is_not_probed_twice_at_a_time(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe, asking = broker.probe, Counter[str]()

    async def slow(queues: Collection[str]) -> Mapping[str, Probe]:
        asking.update(queues)
        assert max(asking.values()) == 1, "its round is skipped instead"
        answers = await probe(queues)
        await asyncio.sleep(2.3 if "jobs" in queues else 0)
        asking.subtract(queues)
        return answers

    monkeypatch.setattr(broker, "probe", slow)
    listener = RecordingListener()
    async with observing(broker, listener) as observer:
        queues = [f"q{n}" for n in range(200)]
        observer.follow(OTHER, *queues)
        await asyncio.sleep(20)
        times = probe_times(broker, "jobs")
        apart = [queue for queue in queues if probe_times(broker, queue)[-1] != times[-1]]
        assert steps(times) == {3.0}
        assert len(apart) > 150
        assert all(steps(probe_times(broker, queue)) == {1.0} for queue in apart)
        assert listener.reads.count(KEY) >= 18, "its readings are evaluated all the same"


async def test_missed_rounds_are_skipped_after_a_blocked_event_loop(broker: FakeBroker) -> None:
    """A missed round is skipped: no work accumulates."""
    async with observing(broker, RecordingListener()):
        await asyncio.sleep(5)
        asyncio.get_running_loop().setup_looptime(start=105)  # type: ignore[attr-defined]  # of looptime
        await asyncio.sleep(5)
    times = probe_times(broker, "jobs")
    assert len([at for at in times if at < 100]) == 5
    assert len([at for at in times if at > 100]) <= 6


@pytest.mark.slow
async def test_empty_queues_at_zero_are_evaluated_every_five_seconds_at_different_times(
    broker: FakeBroker,
) -> None:
    listener = RecordingListener()
    listener.at_zero.add(KEY)
    async with observing(broker, listener) as observer:
        follow_at_zero(observer, listener, 1000)
        await asyncio.sleep(10)
        listener.batches.clear()
        await asyncio.sleep(50)
        considered = Counter(key for keys in listener.batches for key in keys)
        assert {*considered.values()} <= {9, 10, 11}
        assert len(considered) == 1001
        assert max(map(len, listener.batches)) < 50
        listener.batches.clear()
        broker.depths["jobs"] = (1, 0)
        await asyncio.sleep(0.3)
        assert any(KEY in keys for keys in listener.batches), "a changed depth is evaluated at once"


async def test_no_batch_begins_while_the_answers_to_another_one_are_decided_on(broker: FakeBroker) -> None:
    deciding = 0

    async def decide(*_: object) -> None:
        nonlocal deciding
        deciding += 1
        assert deciding == 1
        await asyncio.sleep(10)  # as long as too many TaskQueues for one core take
        deciding -= 1

    health = ReadHealth(structlog.get_logger(), FakeTelemetry(), lambda: None)
    rounds = ProbeRounds(broker, health, decide)
    queues = [f"q{n}" for n in range(100)]
    async with asyncio.TaskGroup() as group:
        running = group.create_task(rounds.run(group, lambda: queues, lambda _: 1.0))
        await asyncio.sleep(105)
        assert len(broker.probes) <= 12
        running.cancel()
