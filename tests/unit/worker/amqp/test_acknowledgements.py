"""No frame acknowledges a message whose task has not ended, however tasks end."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from pamqp import frame
from pamqp.commands import Basic

from taskqueue_worker.amqp.acknowledgements import Acknowledgements


class Broker:
    """A channel of a broker: it knows which messages are unacknowledged, and refuses others."""

    def __init__(self, messages: int) -> None:
        self.is_open = True
        self.unacknowledged = set(range(1, messages + 1))
        self.frames = 0
        self._due: list[Callable[[], None]] = []
        self.acknowledgements = Acknowledgements(1, self, self._due.append)
        for tag in sorted(self.unacknowledged):
            self.acknowledgements.hold(tag)

    def write(self, frames: bytes) -> None:
        while frames:
            size, channel, ack = frame.unmarshal(frames)
            assert channel == 1
            assert isinstance(ack, Basic.Ack)
            tag = ack.delivery_tag
            assert tag in self.unacknowledged
            self.unacknowledged -= {other for other in self.unacknowledged if other <= tag} if ack.multiple else {tag}
            self.frames += 1
            frames = frames[size:]

    def run_due(self) -> None:
        while self._due:
            self._due.pop(0)()


def test_tasks_that_end_together_are_acknowledged_by_one_frame() -> None:
    broker = Broker(10)
    for tag in (3, 1, 2, 4):
        assert broker.acknowledgements.acknowledge(tag)
    assert broker.frames == 0
    broker.run_due()
    assert broker.unacknowledged == {5, 6, 7, 8, 9, 10}
    assert broker.frames == 1


def test_a_running_task_is_not_acknowledged_with_those_around_it() -> None:
    broker = Broker(5)
    for tag in (1, 2, 4, 5):
        broker.acknowledgements.acknowledge(tag)
    broker.run_due()
    assert broker.unacknowledged == {3}
    broker.acknowledgements.acknowledge(3)
    broker.run_due()
    assert broker.unacknowledged == set()


def test_on_a_lost_connection_nothing_counts_as_acknowledged() -> None:
    broker = Broker(1)
    broker.is_open = False
    assert not broker.acknowledgements.acknowledge(1)
    broker.run_due()
    assert broker.frames == 0


def test_nothing_is_sent_on_a_channel_that_the_broker_has_closed() -> None:
    broker = Broker(2)
    assert broker.acknowledgements.acknowledge(1)
    broker.acknowledgements.close()
    assert not broker.acknowledgements.acknowledge(2)
    broker.run_due()
    assert broker.frames == 0


@given(st.permutations(range(1, 13)), st.lists(st.sampled_from(["end", "requeue", "wait"]), min_size=24, max_size=24))
def test_in_any_order_exactly_the_messages_of_ended_tasks_are_acknowledged(order: list[int], steps: list[str]) -> None:
    broker, ended, tags = Broker(len(order)), set[int](), iter(order)
    requeued = set[int]()
    for step in steps:
        if step == "wait":
            broker.run_due()
            assert broker.unacknowledged == set(order) - ended - requeued
        elif (tag := next(tags, None)) is not None and step == "end":
            ended.add(tag)
            assert broker.acknowledgements.acknowledge(tag)
        elif tag is not None:
            requeued.add(tag)
            broker.unacknowledged.remove(tag)
            broker.acknowledgements.release(tag)
    broker.run_due()
    assert broker.unacknowledged == set(order) - ended - requeued
