"""The observer reads in short steps, and keeps what it read."""

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from itertools import pairwise

import pytest

from taskqueue_operator.control.observe.observer import Observer
from taskqueue_operator.control.observe.rounds import BATCH_INTERVAL_SECONDS
from taskqueue_operator.resource.names import Key
from taskqueue_operator.scaling.reading import Doubt, Probe, Sweep
from taskqueue_operator.topology.objects import Topology
from tests.unit.control.fake_broker import FORBIDDEN, GONE_AWAY, START, FakeBroker
from tests.unit.control.fake_cluster import KEY, FakeTelemetry

from .recording_listener import OTHER, RecordingListener, observing, told_of

pytestmark = pytest.mark.looptime


async def test_a_queue_is_certain_once_it_was_swept_for_the_whole_horizon(broker: FakeBroker) -> None:
    broker.depths["jobs"] = (7, 2)
    async with observing(broker, RecordingListener()) as observer:
        await asyncio.sleep(11)
        young = observer.reading("jobs")
        await asyncio.sleep(2)
        sure = observer.reading("jobs")
    assert (young.at_least, young.at_most, young.doubt) == (7, None, Doubt.HISTORY_TOO_SHORT)
    assert (sure.at_least, sure.at_most, sure.unacked, sure.doubt) == (7, 7, 2, None)


async def test_it_stays_certain_for_as_long_as_it_is_read(broker: FakeBroker) -> None:
    async with observing(broker, RecordingListener()) as observer:
        await asyncio.sleep(13)
        for _ in range(400):
            await asyncio.sleep(0.37)
            assert observer.reading("jobs").doubt is None


def asked_at(broker: FakeBroker, queue: str) -> list[float]:
    return [at for at, queues in broker.probes if queue in queues]


def steps(times: list[float]) -> set[float]:
    return {round(later - earlier, 3) for earlier, later in pairwise(times)}


def follow_asleep(observer: Observer, listener: RecordingListener, count: int) -> list[str]:
    queues = [f"q{n}" for n in range(count)]
    for queue in queues:
        listener.sleeping.add(Key("n", queue))
        observer.follow(Key("n", queue), queue)
    return queues


async def test_sleeping_queues_are_probed_often_and_the_others_each_second(broker: FakeBroker) -> None:
    listener = RecordingListener()
    listener.sleeping.add(OTHER)
    async with observing(broker, listener) as observer:
        observer.follow(OTHER, "more")
        await asyncio.sleep(10.5)
    assert steps(asked_at(broker, "jobs")) == {1.0}
    assert steps(asked_at(broker, "more")) == {0.25}
    assert [round(at, 3) for at in broker.sweeps] == [0, 5, 10]


@pytest.mark.parametrize(("count", "period"), [(10, 0.25), (1000, 0.25), (8000, 2.0)])
async def test_many_sleeping_queues_are_probed_less_often(broker: FakeBroker, count: int, period: float) -> None:
    listener = RecordingListener()
    async with observing(broker, listener) as observer:
        queues = follow_asleep(observer, listener, count)
        await asyncio.sleep(10)
    assert all(steps(asked_at(broker, queue)) == {period} for queue in queues[::100])


async def test_a_round_of_many_is_cut_into_small_portions_at_even_steps(broker: FakeBroker) -> None:
    async with observing(broker, RecordingListener()) as observer:
        for n in range(1000):
            observer.follow(Key("n", str(n)), f"q{n}")
        await asyncio.sleep(10)
    assert max(len(queues) for _, queues in broker.probes) < 100
    assert steps([at for at, _ in broker.probes]) == {BATCH_INTERVAL_SECONDS}


async def test_a_portion_that_takes_long_delays_no_other_and_is_not_asked_twice(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe, asking = broker.probe, Counter[str]()

    async def slow(queues: Collection[str]) -> Mapping[str, Probe]:
        asking.update(queues)
        assert max(asking.values()) == 1, "its round is left out instead"
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
        times = asked_at(broker, "jobs")
        apart = [queue for queue in queues if asked_at(broker, queue)[-1] != times[-1]]
        assert steps(times) == {3.0}
        assert len(apart) > 150
        assert all(steps(asked_at(broker, queue)) == {1.0} for queue in apart)
        assert listener.reads.count(KEY) >= 18, "it is considered all the same"


async def test_a_loop_that_was_held_up_goes_on_from_now(broker: FakeBroker) -> None:
    """A round that is over is not made up for: nothing piles up."""
    async with observing(broker, RecordingListener()):
        await asyncio.sleep(5)
        asyncio.get_running_loop().setup_looptime(start=105)  # type: ignore[attr-defined]  # of looptime
        await asyncio.sleep(5)
    times = asked_at(broker, "jobs")
    assert len([at for at in times if at < 100]) == 5
    assert len([at for at in times if at > 100]) <= 6


async def test_sleeping_empty_queues_are_considered_once_in_five_seconds_each_at_its_own_time(
    broker: FakeBroker,
) -> None:
    listener = RecordingListener()
    listener.sleeping.add(KEY)
    async with observing(broker, listener) as observer:
        follow_asleep(observer, listener, 1000)
        await asyncio.sleep(10)
        listener.portions.clear()
        await asyncio.sleep(50)
        considered = Counter(key for keys in listener.portions for key in keys)
        assert {*considered.values()} <= {9, 10, 11}
        assert len(considered) == 1001
        assert max(map(len, listener.portions)) < 50
        listener.portions.clear()
        broker.depths["jobs"] = (1, 0)
        await asyncio.sleep(0.3)
        assert any(KEY in keys for keys in listener.portions), "news is considered at once"


async def test_it_tells_what_it_asked_what_came_of_it_and_how_late_it_was(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    telemetry, probe = FakeTelemetry(), broker.probe

    async def late(queues: Collection[str]) -> Mapping[str, Probe]:
        await asyncio.sleep(0.125)
        answers = await probe(queues)
        return {queue: answers[queue] for queue in answers if queue != "mute"}

    monkeypatch.setattr(broker, "probe", late)
    broker.refused["more"] = FORBIDDEN
    queues = {"jobs": "ok", "more": "PermissionDenied", "gone": "missing", "mute": "silent"}
    async with observing(broker, RecordingListener(), telemetry) as observer:
        observer.follow(KEY, *queues)
        await asyncio.sleep(1.5)
        told = Counter[str]()
        for each in told_of(telemetry, "queried", "probe"):
            told.update(each[3])
            assert each[2] == pytest.approx(0.125)
        assert told.keys() == set(queues.values())
        assert [each[3] for each in told_of(telemetry, "queried", "sweep")] == [{"ok": 2, "missing": 2}]
        assert {round(each[1], 3) for each in told_of(telemetry, "late")} == {0.125}
        telemetry.told.clear()
        broker.fault = GONE_AWAY
        await asyncio.sleep(5)
        assert {*told_of(telemetry, "queried", "sweep")[0][3].items()} == {("BrokerUnreachable", 4)}
        assert all(each[3].keys() == {"BrokerUnreachable"} for each in told_of(telemetry, "queried", "probe"))
        assert told_of(telemetry, "late"), "what could not be read was considered too"


@pytest.mark.parametrize(
    ("sweep", "outcome"),
    [
        (Sweep(START, present=False), "missing"),
        (Sweep(START, present=True, ready=1, unacked=1), "NotRunning"),
        (Sweep(START, present=True, running=True, ready=1), "NoFigures"),
    ],
)
async def test_every_way_a_sweep_says_nothing_has_a_name(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch, sweep: Sweep, outcome: str
) -> None:
    async def answer() -> Mapping[str, Sweep]:
        return {"jobs": replace(sweep, at=broker.clock())}

    monkeypatch.setattr(broker, "sweep", answer)
    telemetry = FakeTelemetry()
    async with observing(broker, RecordingListener(), telemetry) as observer:
        await asyncio.sleep(20)
        reading = observer.reading("jobs")
    assert told_of(telemetry, "queried", "sweep")[0][3] == {outcome: 1}
    assert (reading.at_most, reading.doubt) == (None, replace(sweep, at=reading.at).doubt)


async def test_what_is_kept_of_a_queue_does_not_grow_with_how_often_it_is_read(broker: FakeBroker) -> None:
    listener = RecordingListener()
    listener.sleeping.add(KEY)
    broker.depths["jobs"] = (3, 0)
    async with observing(broker, listener) as observer:
        await asyncio.sleep(30)
        kept = observer._samples["jobs"]
        assert (len(kept.probes), len(kept.sweeps)) == (1, 4)
        for depth in (9, 5, 7):
            broker.depths["jobs"] = (depth, 0)
            await asyncio.sleep(1)
        assert [probe.ready for probe in kept.probes] == [9, 7]
        assert (observer.reading("jobs").at_least, observer.reading("jobs").at_most) == (7, 9)
        await asyncio.sleep(20)
        assert observer.reading("jobs").at_most == 7


async def test_a_missing_queue_is_told_and_never_read_as_empty(broker: FakeBroker) -> None:
    broker.topology_ = Topology()
    listener = RecordingListener()
    async with observing(broker, listener) as observer:
        await asyncio.sleep(20)
        reading = observer.reading("jobs")
    assert listener.misses == [KEY], "once: it is no reason to look at the whole topology at every probe"
    assert (reading.at_least, reading.at_most, reading.doubt) == (None, None, Doubt.ABSENT)


async def test_a_queue_that_goes_again_is_told_again(broker: FakeBroker) -> None:
    there, listener = broker.topology_, RecordingListener()
    async with observing(broker, listener):
        for topology in (there, Topology(), there, Topology()):
            broker.topology_ = topology
            await asyncio.sleep(5)
    assert listener.misses == [KEY, KEY]


async def test_one_sweep_that_is_lost_leaves_a_doubt_until_the_next(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with observing(broker, RecordingListener()) as observer:
        await asyncio.sleep(23)
        monkeypatch.setattr(broker, "fault", GONE_AWAY)
        await asyncio.sleep(3)
        broker.fault = None
        await asyncio.sleep(3.5)
        assert "sweep" not in observer.faults
        assert observer.reading("jobs").doubt is Doubt.NO_SWEEP


async def test_while_nobody_answers_readings_age_and_are_considered(broker: FakeBroker) -> None:
    listener = RecordingListener()
    async with observing(broker, listener) as observer:
        await asyncio.sleep(20)
        broker.fault = GONE_AWAY
        listener.reads.clear()
        await asyncio.sleep(12)
        assert KEY in listener.reads
        assert (observer.reading("jobs").at_least, observer.reading("jobs").at_most) == (None, None)


async def test_a_queue_that_may_not_be_read_is_the_trouble_of_its_own_taskqueues_alone(broker: FakeBroker) -> None:
    listener = RecordingListener()
    async with observing(broker, listener) as observer:
        observer.follow(OTHER, "more")
        await asyncio.sleep(2.5)
        broker.refused["more"] = FORBIDDEN
        await asyncio.sleep(5)
        assert [keys for _, keys in listener.faults] == [{OTHER}], "once"
        assert (observer.fault, observer.fault_at("jobs"), observer.fault_at("more")) == (None, None, FORBIDDEN)
        assert observer.reading("more").at_least is None
        assert observer.reading("jobs").at_least == 0
        broker.refused.clear()
        await asyncio.sleep(1)
        assert [keys for _, keys in listener.faults[1:]] == [{OTHER}]
        assert observer.fault_at("more") is None


async def test_a_reading_is_as_old_as_the_question_that_it_answers(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with observing(broker, RecordingListener()) as observer:
        await asyncio.sleep(0.5)
        old = {"jobs": Probe(broker.clock(), 7)}

        async def late(_: Collection[str]) -> dict[str, Probe]:
            return old

        monkeypatch.setattr(broker, "probe", late)
        await asyncio.sleep(3)
        assert observer.reading("jobs").at_least == 7
        await asyncio.sleep(3)
        assert observer.reading("jobs").at_least is None


async def test_a_restart_forgets_what_was_read(broker: FakeBroker) -> None:
    async with observing(broker, RecordingListener()) as observer:
        await asyncio.sleep(20)
        observer.discard_samples("jobs")
        assert observer.reading("jobs").doubt is Doubt.NO_SWEEP
        await asyncio.sleep(18)
        assert observer.reading("jobs").doubt is None
        assert observer.keys == {KEY}
