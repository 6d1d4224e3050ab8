"""The observer stores samples of queues, and notifies its listener of what they change."""

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace

import pytest

from taskqueue_operator.control.observe.observer import SWEEP_PERIOD_SECONDS
from taskqueue_operator.resource.names import CONTROL_EXCHANGE
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
