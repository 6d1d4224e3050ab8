from collections.abc import Iterable

import pytest
from pamqp import commands

from taskqueue_drain.conformance.amqp_frames import Frame
from taskqueue_drain.conformance.deliveries import Deliveries
from tests.unit.taskqueue_drain.conformance.frames import consume, deliver, frame_of

Basic = commands.Basic


def delivered(*settlements: Frame) -> Deliveries:
    """Deliver three messages, and settle them."""
    deliveries = Deliveries("jobs")
    deliveries.from_worker(1, consume())
    for tag in (1, 2, 3):
        deliveries.to_worker(1, deliver(tag))
    for settlement in settlements:
        deliveries.from_worker(1, settlement)
    return deliveries


def counts(deliveries: Deliveries) -> tuple[int, ...]:
    return deliveries.acknowledged, deliveries.requeued, deliveries.rejected, deliveries.lost, deliveries.unsettled


@pytest.mark.parametrize(
    ("settlements", "expected"),
    [
        ([Basic.Ack(1)], (1, 0, 0, 0, 2)),
        ([Basic.Ack(2, multiple=True)], (2, 0, 0, 0, 1)),
        ([Basic.Ack(0, multiple=True)], (3, 0, 0, 0, 0)),
        ([Basic.Ack(1), Basic.Nack(3, multiple=True, requeue=True)], (1, 2, 0, 0, 0)),
        ([Basic.Nack(1, requeue=False)], (0, 0, 1, 0, 2)),
        ([Basic.Reject(2, requeue=True)], (0, 0, 1, 0, 2)),
        ([Basic.Ack(9)], (0, 0, 0, 0, 3)),
    ],
)
def test_settlements_are_counted(settlements: Iterable[object], expected: tuple[int, ...]) -> None:
    assert counts(delivered(*map(frame_of, settlements))) == expected


def test_messages_of_a_closed_channel_or_connection_are_lost() -> None:
    deliveries = delivered(frame_of(Basic.Ack(1)))
    deliveries.closed(1)
    assert counts(deliveries) == (1, 0, 0, 2, 0)
    by_worker = delivered(frame_of(commands.Channel.Close(200, "bye", 0, 0)))
    assert counts(by_worker) == (0, 0, 0, 3, 0)


def test_other_queues_and_channels_do_not_count() -> None:
    deliveries = Deliveries("jobs")
    deliveries.from_worker(1, consume(queue="amq.rabbitmq.reply-to"))
    deliveries.to_worker(1, deliver(1))
    deliveries.from_worker(1, frame_of(Basic.Ack(1)))
    assert counts(deliveries) == (0, 0, 0, 0, 0)
    assert deliveries.tags == []


def test_tags_are_those_of_the_worker_or_of_the_broker() -> None:
    deliveries = Deliveries("jobs")
    for tag, answer in (("mine", "mine"), ("", "amq.ctag-1")):
        deliveries.from_worker(1, consume(tag=tag))
        deliveries.to_worker(1, frame_of(Basic.ConsumeOk(answer)))
    assert deliveries.tags == ["mine", "amq.ctag-1"]


def test_a_channel_stays_open_after_its_consumer_is_cancelled() -> None:
    deliveries = delivered()
    assert deliveries.consuming == {(1, 1)}
    deliveries.from_worker(1, frame_of(Basic.Cancel("mine")))
    assert not deliveries.consuming
    assert deliveries.channels == {(1, 1)}


def test_only_methods_with_an_answer_are_synchronous() -> None:
    deliveries = delivered(frame_of(Basic.Ack(1)), frame_of(Basic.Qos()), frame_of(Basic.Nack(2)))
    assert deliveries.synchronous == 2, "consume and qos"


def test_a_connection_that_consumes_and_reports_is_found() -> None:
    deliveries = delivered()
    report = frame_of(Basic.Publish(exchange="taskqueue.reports", routing_key="media/jobs"), 2)
    deliveries.from_worker(2, report)
    assert not deliveries.share_connection
    deliveries.from_worker(1, report)
    assert deliveries.share_connection
