"""The observer reads in short steps, tells of faults when they come and go, and keeps what it read."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

import pytest

from taskqueue_operator.control.clock import loop_clock
from taskqueue_operator.control.observe import Observer
from taskqueue_operator.control.readers import Readers
from taskqueue_operator.resource.names import Key
from taskqueue_operator.scaling.reading import Doubt, Probe
from taskqueue_operator.topology.objects import Queue, Topology

from .fake_broker import FORBIDDEN, GONE_AWAY, REFUSED, START, FakeBroker, FakeBrokers, FakeEndpoint
from .fake_cluster import KEY

pytestmark = pytest.mark.looptime

OTHER = Key("media", "other")


class Ears:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.sleeping: set[Key] = set()
        self.reads: list[Key] = []
        self.misses: list[Key] = []
        self.faults: list[tuple[float, frozenset[Key]]] = []
        self.topologies: list[float] = []

    def asleep(self, key: Key) -> bool:
        return key in self.sleeping

    def read(self, keys: Collection[Key]) -> None:
        self.reads += keys

    def missed(self, key: Key) -> None:
        self.misses.append(key)

    def verify(self, keys: Collection[Key], there: Topology) -> None:  # noqa: ARG002  the port's shape
        self.topologies.append(asyncio.get_running_loop().time())

    def faulted(self, keys: Collection[Key]) -> None:
        self.faults.append((round(asyncio.get_running_loop().time()), frozenset(keys)))


@asynccontextmanager
async def observing(broker: FakeBroker, ears: Ears) -> AsyncIterator[Observer]:
    observer = Observer(FakeEndpoint(), broker, ears, broker.clock)
    observer.follow(KEY, "jobs")
    task = asyncio.create_task(observer.run())
    yield observer
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert broker.closed


@pytest.fixture
async def broker() -> FakeBroker:
    made = FakeBroker(loop_clock(START))
    made.topology_ = Topology(queues={name: Queue(name) for name in ("jobs", "more")})
    return made


async def test_a_queue_is_certain_once_it_was_swept_for_the_whole_horizon(broker: FakeBroker) -> None:
    broker.depths["jobs"] = (7, 2)
    async with observing(broker, Ears()) as observer:
        await asyncio.sleep(11)
        young = observer.reading("jobs")
        await asyncio.sleep(2)
        sure = observer.reading("jobs")
    assert (young.at_least, young.at_most, young.doubt) == (7, None, Doubt.YOUNG)
    assert (sure.at_least, sure.at_most, sure.unacked, sure.doubt) == (7, 7, 2, None)


async def test_it_stays_certain_for_as_long_as_it_is_read(broker: FakeBroker) -> None:
    async with observing(broker, Ears()) as observer:
        await asyncio.sleep(13)
        for _ in range(400):
            await asyncio.sleep(0.37)
            assert observer.reading("jobs").doubt is None


async def test_sleeping_queues_are_probed_often_and_the_others_each_second(broker: FakeBroker) -> None:
    ears = Ears()
    ears.sleeping.add(OTHER)
    async with observing(broker, ears) as observer:
        observer.follow(OTHER, "more")
        await asyncio.sleep(10.1)
    awake = sum(queues == {"jobs"} for _, queues in broker.probes)
    asleep = sum(queues == {"more"} for _, queues in broker.probes)
    assert (awake, asleep) == (11, 41)
    assert [round(at) for at in broker.sweeps] == [0, 5, 10]


async def test_many_sleeping_queues_are_probed_less_often(broker: FakeBroker) -> None:
    ears = Ears()
    async with observing(broker, ears) as observer:
        for n in range(8000):
            ears.sleeping.add(Key("n", str(n)))
            observer.follow(Key("n", str(n)), f"q{n}")
        await asyncio.sleep(10.1)
    asleep = [at for at, queues in broker.probes if len(queues) == 8000]
    assert [round(at) for at in asleep] == [0, 2, 4, 6, 8, 10]


async def test_a_sleeping_empty_queue_calls_for_nothing_between_sweeps(broker: FakeBroker) -> None:
    ears = Ears()
    ears.sleeping.add(KEY)
    async with observing(broker, ears):
        await asyncio.sleep(1)
        ears.reads.clear()
        await asyncio.sleep(3)
        assert ears.reads == []
        broker.depths["jobs"] = (1, 0)
        await asyncio.sleep(0.3)
        assert set(ears.reads) == {KEY}


async def test_a_missing_queue_is_told_and_never_read_as_empty(broker: FakeBroker) -> None:
    broker.topology_ = Topology()
    ears = Ears()
    async with observing(broker, ears) as observer:
        await asyncio.sleep(20)
        reading = observer.reading("jobs")
    assert ears.misses == [KEY], "once: it is no reason to look at the whole topology at every probe"
    assert (reading.at_least, reading.at_most, reading.doubt) == (None, None, Doubt.ABSENT)


async def test_a_queue_that_goes_again_is_told_again(broker: FakeBroker) -> None:
    there, ears = broker.topology_, Ears()
    async with observing(broker, ears):
        for topology in (there, Topology(), there, Topology()):
            broker.topology_ = topology
            await asyncio.sleep(5)
    assert ears.misses == [KEY, KEY]


async def test_faults_are_told_when_they_come_change_and_go(broker: FakeBroker) -> None:
    ears = Ears()
    async with observing(broker, ears) as observer:
        await asyncio.sleep(10.5)
        assert ears.faults == []
        broker.fault = GONE_AWAY
        await asyncio.sleep(60)
        assert observer.fault is GONE_AWAY
        told = len(ears.faults)
        assert told == 3  # awake, sweep, topology: each once
        broker.fault = REFUSED
        await asyncio.sleep(60)
        assert len(ears.faults) == 2 * told
        broker.fault = None
        await asyncio.sleep(60)
        assert len(ears.faults) == 3 * told
        assert observer.fault is None


async def test_while_nobody_answers_readings_age_and_are_considered(broker: FakeBroker) -> None:
    ears = Ears()
    async with observing(broker, ears) as observer:
        await asyncio.sleep(20)
        broker.fault = GONE_AWAY
        ears.reads.clear()
        await asyncio.sleep(12)
        assert KEY in ears.reads
        assert (observer.reading("jobs").at_least, observer.reading("jobs").at_most) == (None, None)


async def test_a_queue_that_may_not_be_read_is_the_trouble_of_its_own_taskqueues_alone(broker: FakeBroker) -> None:
    ears = Ears()
    async with observing(broker, ears) as observer:
        observer.follow(OTHER, "more")
        await asyncio.sleep(2.5)
        broker.refused["more"] = FORBIDDEN
        await asyncio.sleep(5)
        assert ears.faults == [(3, frozenset({OTHER}))], "once"
        assert (observer.fault, observer.fault_at("jobs"), observer.fault_at("more")) == (None, None, FORBIDDEN)
        assert observer.reading("more").at_least is None
        assert observer.reading("jobs").at_least == 0
        broker.refused.clear()
        await asyncio.sleep(1)
        assert ears.faults[1:] == [(8, frozenset({OTHER}))]
        assert observer.fault_at("more") is None


@pytest.mark.parametrize("what", ["probe", "sweep"])
async def test_a_reader_that_a_library_cancels_goes_on(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    async def cancelled(*_: object) -> None:
        raise asyncio.CancelledError

    ears = Ears()
    async with observing(broker, ears) as observer:
        await asyncio.sleep(1.5)
        monkeypatch.setattr(broker, what, cancelled)
        await asyncio.sleep(60)
        assert observer.faults
        monkeypatch.undo()
        await asyncio.sleep(60)
        assert observer.faults == {}


async def test_a_reading_is_as_old_as_the_question_that_it_answers(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with observing(broker, Ears()) as observer:
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
    async with observing(broker, Ears()) as observer:
        await asyncio.sleep(20)
        observer.restart("jobs")
        assert observer.reading("jobs").doubt is Doubt.NO_SWEEP
        await asyncio.sleep(18)
        assert observer.reading("jobs").doubt is None
        assert observer.keys == {KEY}


async def test_a_bug_in_reading_does_not_end_it(broker: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken() -> None:
        raise ZeroDivisionError

    async with observing(broker, Ears()) as observer:
        monkeypatch.setattr(broker, "sweep", broken)
        await asyncio.sleep(20)
        assert str(observer.faults["sweep"]) == "The operator failed; its log says why."
        monkeypatch.undo()
        await asyncio.sleep(6)
        assert "sweep" not in observer.faults


async def test_one_endpoint_has_one_observer_which_ends_with_its_last_user() -> None:
    clock = loop_clock(START)
    brokers = FakeBrokers(clock)
    readers = Readers(brokers, Ears(), clock)
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
