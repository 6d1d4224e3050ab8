"""The observer reads queues in batches, and stores their samples."""

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from itertools import pairwise

import pytest

from taskqueue_operator.control.observe.observer import SWEEP_PERIOD_SECONDS, Observer
from taskqueue_operator.control.observe.rounds import BATCH_INTERVAL_SECONDS
from taskqueue_operator.resource.names import CONTROL_EXCHANGE, Key
from taskqueue_operator.scaling.reading import Doubt, Probe, Sweep
from taskqueue_operator.topology.objects import Binding, Topology
from tests.unit.control.fake_broker import FORBIDDEN, START, UNREACHABLE, FakeBroker
from tests.unit.control.fake_cluster import KEY, FakeTelemetry

from .recording_listener import OTHER, RecordingListener, observing, recorded_events

pytestmark = pytest.mark.looptime


async def test_a_reading_is_exact_once_sweeps_cover_the_whole_window(broker: FakeBroker) -> None:
    broker.depths["jobs"] = (7, 2)
    async with observing(broker, RecordingListener()) as observer:
        await asyncio.sleep(11)
        young = observer.reading("jobs")
        await asyncio.sleep(2)
        sure = observer.reading("jobs")
    assert (young.at_least, young.at_most, young.doubt) == (7, None, Doubt.HISTORY_TOO_SHORT)
    assert (sure.at_least, sure.at_most, sure.unacked, sure.doubt) == (7, 7, 2, None)


@pytest.mark.slow
async def test_a_reading_stays_exact_while_the_queue_is_read(broker: FakeBroker) -> None:
    async with observing(broker, RecordingListener()) as observer:
        await asyncio.sleep(13)
        for _ in range(400):
            await asyncio.sleep(0.37)
            assert observer.reading("jobs").doubt is None


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


async def test_telemetry_records_queries_outcomes_and_delay(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    telemetry, probe = FakeTelemetry(), broker.probe

    async def delayed(queues: Collection[str]) -> Mapping[str, Probe]:
        await asyncio.sleep(0.125)
        answers = await probe(queues)
        return {queue: answers[queue] for queue in answers if queue != "mute"}

    monkeypatch.setattr(broker, "probe", delayed)
    broker.refused["more"] = FORBIDDEN
    queues = {"jobs": "ok", "more": "PermissionDenied", "absent": "missing", "mute": "silent"}
    async with observing(broker, RecordingListener(), telemetry) as observer:
        observer.follow(KEY, *queues)
        await asyncio.sleep(1.5)
        outcomes = Counter[str]()
        for event in recorded_events(telemetry, "queried", "probe"):
            outcomes.update(event[3])
            assert event[2] == pytest.approx(0.125)
        assert outcomes.keys() == set(queues.values())
        assert [event[3] for event in recorded_events(telemetry, "queried", "sweep")] == [{"ok": 2, "missing": 2}]
        assert {round(event[1], 3) for event in recorded_events(telemetry, "delayed")} == {0.125}
        telemetry.events.clear()
        broker.fault = UNREACHABLE
        await asyncio.sleep(5)
        assert {*recorded_events(telemetry, "queried", "sweep")[0][3].items()} == {("BrokerUnreachable", 4)}
        assert all(event[3].keys() == {"BrokerUnreachable"} for event in recorded_events(telemetry, "queried", "probe"))
        assert recorded_events(telemetry, "delayed"), "unread queues are evaluated too"


@pytest.mark.parametrize(
    ("sweep", "outcome"),
    [
        (Sweep(START, present=False), "missing"),
        (Sweep(START, present=True, ready=1, unacked=1), "NotRunning"),
        (Sweep(START, present=True, running=True, ready=1), "NoFigures"),
    ],
)
async def test_a_sweep_without_figures_has_a_reason(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch, sweep: Sweep, outcome: str
) -> None:
    async def answer() -> Mapping[str, Sweep]:
        return {"jobs": replace(sweep, at=broker.clock())}

    monkeypatch.setattr(broker, "sweep", answer)
    telemetry = FakeTelemetry()
    async with observing(broker, RecordingListener(), telemetry) as observer:
        await asyncio.sleep(20)
        reading = observer.reading("jobs")
    assert recorded_events(telemetry, "queried", "sweep")[0][3] == {outcome: 1}
    assert (reading.at_most, reading.doubt) == (None, replace(sweep, at=reading.at).doubt)


async def test_stored_samples_do_not_grow_with_the_number_of_probes(broker: FakeBroker) -> None:
    listener = RecordingListener()
    listener.at_zero.add(KEY)
    broker.depths["jobs"] = (3, 0)
    async with observing(broker, listener) as observer:
        await asyncio.sleep(30)
        kept = observer._followed.samples("jobs")
        assert kept is not None
        assert (len(kept.probes), len(kept.sweeps)) == (1, 4)
        for depth in (9, 5, 7):
            broker.depths["jobs"] = (depth, 0)
            await asyncio.sleep(1)
        assert [probe.ready for probe in kept.probes] == [9, 7]
        assert (observer.reading("jobs").at_least, observer.reading("jobs").at_most) == (7, 9)
        await asyncio.sleep(20)
        assert observer.reading("jobs").at_most == 7


async def test_a_missing_queue_is_reported_and_never_read_as_empty(broker: FakeBroker) -> None:
    broker.topology_ = Topology()
    listener = RecordingListener()
    async with observing(broker, listener) as observer:
        await asyncio.sleep(20)
        reading = observer.reading("jobs")
    assert listener.misses == [KEY], "once: the whole topology is not read at every probe"
    assert (reading.at_least, reading.at_most, reading.doubt) == (None, None, Doubt.ABSENT)


async def test_a_queue_that_is_missing_again_is_reported_again(broker: FakeBroker) -> None:
    present, listener = broker.topology_, RecordingListener()
    async with observing(broker, listener):
        for topology in (present, Topology(), present, Topology()):
            broker.topology_ = topology
            await asyncio.sleep(5)
    assert listener.misses == [KEY, KEY]


async def test_a_lost_sweep_leaves_a_doubt_until_the_next_sweep(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with observing(broker, RecordingListener()) as observer:
        await asyncio.sleep(23)
        monkeypatch.setattr(broker, "fault", UNREACHABLE)
        await asyncio.sleep(3)
        broker.fault = None
        await asyncio.sleep(3.5)
        assert "sweep" not in observer.faults
        assert observer.reading("jobs").doubt is Doubt.NO_SWEEP


async def test_readings_age_and_are_evaluated_while_the_broker_does_not_answer(broker: FakeBroker) -> None:
    listener = RecordingListener()
    async with observing(broker, listener) as observer:
        await asyncio.sleep(20)
        broker.fault = UNREACHABLE
        listener.reads.clear()
        await asyncio.sleep(12)
        assert KEY in listener.reads
        assert (observer.reading("jobs").at_least, observer.reading("jobs").at_most) == (None, None)


async def test_a_queue_without_read_permission_affects_only_its_own_taskqueues(broker: FakeBroker) -> None:
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


async def test_the_age_of_a_reading_counts_from_its_request(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with observing(broker, RecordingListener()) as observer:
        await asyncio.sleep(0.5)
        old = {"jobs": Probe(broker.clock(), 7)}

        async def delayed(_: Collection[str]) -> dict[str, Probe]:
            return old

        monkeypatch.setattr(broker, "probe", delayed)
        await asyncio.sleep(3)
        assert observer.reading("jobs").at_least == 7
        await asyncio.sleep(3)
        assert observer.reading("jobs").at_least is None


async def test_discarded_samples_leave_a_doubt_until_the_window_is_covered_again(broker: FakeBroker) -> None:
    async with observing(broker, RecordingListener()) as observer:
        await asyncio.sleep(20)
        observer.discard_samples("jobs")
        assert observer.reading("jobs").doubt is Doubt.NO_SWEEP
        await asyncio.sleep(18)
        assert observer.reading("jobs").doubt is None
        assert observer.keys == {KEY}


async def test_missing_bindings_for_reports_are_restored(broker: FakeBroker) -> None:
    """Another client has deleted the exchange for reports, and all bindings with it."""
    async with observing(broker, RecordingListener()) as observer:
        observer.subscribe_reports(KEY, enabled=True)
        binding = Binding(CONTROL_EXCHANGE, "amq.gen-1", to_queue=True, routing_key=str(KEY))
        broker.topology_ = replace(broker.topology_, bindings=frozenset({binding}))
        await asyncio.sleep(35)
        assert broker.last_control_channel.restored == set()
        broker.topology_ = replace(broker.topology_, bindings=frozenset())
        await asyncio.sleep(35)
        assert broker.last_control_channel.restored == {str(KEY)}


async def test_a_missing_dead_letter_queue_is_notified_with_the_next_sweep(broker: FakeBroker) -> None:
    """It is not probed, but messages may be lost while it is missing."""
    listener = RecordingListener()
    async with observing(broker, listener) as observer:
        observer.require(KEY, {"jobs", "more"})
        await asyncio.sleep(6)
        assert listener.misses == []
        broker.topology_ = Topology(queues={"jobs": broker.topology_.queues["jobs"]})
        await asyncio.sleep(6)
    assert set(listener.misses) == {KEY}


async def test_alarms_of_the_broker_are_known_within_a_sweep_period(broker: FakeBroker) -> None:
    listener = RecordingListener()
    async with observing(broker, listener) as observer:
        await asyncio.sleep(3)
        broker.alarms_ = frozenset({"memory"})
        await asyncio.sleep(SWEEP_PERIOD_SECONDS)
        alarmed, notified = observer.alarms, len(listener.faults)
        broker.alarms_ = frozenset()
        await asyncio.sleep(SWEEP_PERIOD_SECONDS)
        ended = observer.alarms
    assert (set(alarmed), notified, set(ended)) == ({"memory"}, 1, set())


async def test_alarms_of_a_broker_that_does_not_answer_are_unknown(broker: FakeBroker) -> None:
    broker.alarms_ = frozenset({"disk"})
    async with observing(broker, RecordingListener()) as observer:
        await asyncio.sleep(SWEEP_PERIOD_SECONDS)
        assert observer.alarms == {"disk"}
        broker.fault = UNREACHABLE
        await asyncio.sleep(3 * SWEEP_PERIOD_SECONDS)
        assert observer.alarms == frozenset()
