"""Several queues of one TaskQueue are read as one: what is unknown of one of them is unknown of all."""

import asyncio
from datetime import timedelta
from unittest.mock import ANY

import pytest

from taskqueue_operator.control.consumed_queues import ConsumedQueues
from taskqueue_operator.drain.context import QueueState
from taskqueue_operator.resource.faults import Reason
from taskqueue_operator.resource.names import marker_queue, quoted
from taskqueue_operator.scaling.reading import Doubt
from taskqueue_operator.topology.objects import Queue, Topology
from tests.unit.control.fake_broker import FORBIDDEN, START, FakeBroker
from tests.unit.control.fake_cluster import KEY

from .observe.recording_listener import RecordingListener, observing

pytestmark = pytest.mark.looptime

NAMES = ("jobs", "more")


@pytest.fixture
def broker(broker: FakeBroker) -> FakeBroker:
    names = (*NAMES, *map(marker_queue, NAMES))
    broker.topology_ = Topology(queues={name: Queue(name) for name in names})
    return broker


async def test_depths_and_delayed_retries_of_all_queues_add_up(broker: FakeBroker) -> None:
    broker.depths |= {"jobs": (3, 1), "more": (4, 2)}
    broker.depths |= {marker_queue("jobs"): (7, 0), marker_queue("more"): (8, 0)}
    async with observing(broker, RecordingListener()) as observer:
        observer.follow(KEY, *NAMES)
        queues = ConsumedQueues(observer, NAMES)
        await asyncio.sleep(13)
        reading = queues.reading()
    assert (reading.at_least, reading.at_most, reading.unacked) == (7, 7, 3)
    assert queues.delayed() == 15


async def test_queues_are_empty_together_only_when_each_of_them_is(broker: FakeBroker) -> None:
    async with observing(broker, RecordingListener()) as observer:
        observer.follow(KEY, *NAMES)
        queues = ConsumedQueues(observer, NAMES)
        assert queues.queue_state() == QueueState(running=False)
        await asyncio.sleep(13)
        assert queues.queue_state() == QueueState(running=True, empty_at=ANY)
        assert queues.reading().is_empty
        broker.depths["more"] = (0, 1)
        await asyncio.sleep(6)
        assert queues.queue_state() == QueueState(running=True)
        assert not queues.reading().is_empty


async def test_invariant_2_one_queue_that_is_missing_leaves_all_queues_without_an_upper_bound(
    broker: FakeBroker,
) -> None:
    """The known messages of the others still start workers."""
    broker.depths["jobs"] = (3, 0)
    names = (*NAMES, "absent")
    async with observing(broker, RecordingListener()) as observer:
        observer.follow(KEY, *names)
        queues = ConsumedQueues(observer, names)
        await asyncio.sleep(13)
        reading = queues.reading()
    assert (reading.at_least, reading.at_most, reading.doubt) == (3, None, Doubt.ABSENT)
    assert queues.queue_state() == QueueState(running=False)
    assert queues.read_at() is None


async def test_the_fault_and_the_age_of_the_worst_queue_are_those_of_all(broker: FakeBroker) -> None:
    async with observing(broker, RecordingListener()) as observer:
        observer.follow(KEY, *NAMES)
        queues = ConsumedQueues(observer, NAMES)
        await asyncio.sleep(5)
        assert queues.fault() is None
        broker.refused["more"] = FORBIDDEN
        await asyncio.sleep(20)
        fault, read_at, reading = queues.fault(), queues.read_at(), queues.reading()
    assert fault is not None
    assert fault.reason is Reason.PERMISSION_DENIED
    assert read_at is not None
    assert read_at < START + timedelta(seconds=6)
    assert reading.at_most is None


async def test_a_queue_without_a_consumer_is_named_while_messages_wait_in_it(broker: FakeBroker) -> None:
    broker.consumer_counts |= {"jobs": 0, "more": 0}
    broker.depths["more"] = (1, 0)
    async with observing(broker, RecordingListener()) as observer:
        observer.follow(KEY, *NAMES)
        queues = ConsumedQueues(observer, NAMES)
        assert queues.without_consumer() == ()
        await asyncio.sleep(2)
        assert queues.without_consumer() == ("more",)
        broker.consumer_counts["more"] = 1
        await asyncio.sleep(2)
        assert queues.without_consumer() == ()


def test_a_message_names_three_queues_at_most() -> None:
    assert quoted(["a"]) == 'queue "a"'
    assert quoted(["a", "b", "c"]) == 'queues "a", "b", "c"'
    assert quoted(["a", "b", "c", "d", "e"]) == 'queues "a", "b", "c" and 2 others'
