from pamqp import commands
from pamqp.body import ContentBody

from taskqueue_drain.conformance.holds import AfterCancel, LateMessage
from tests.unit.taskqueue_drain.conformance.frames import deliver, frame_of

CHANNEL = (1, 1)
CANCEL_OK = frame_of(commands.Basic.CancelOk(consumer_tag="first"))
QOS_OK = frame_of(commands.Basic.QosOk())
BODY = frame_of(ContentBody(b"{}"))


def test_what_follows_a_cancel_on_its_channel_is_held_except_the_answer_to_it() -> None:
    hold = AfterCancel()
    assert not hold.takes(CHANNEL, QOS_OK)
    hold.from_worker(CHANNEL, frame_of(commands.Basic.Cancel(consumer_tag="first")))
    assert [hold.takes(CHANNEL, frame) for frame in (CANCEL_OK, QOS_OK, deliver(1))] == [False, True, True]
    assert not hold.takes((2, 1), QOS_OK)


def test_messages_are_held_as_a_whole_and_answers_pass_until_a_cancel() -> None:
    hold = LateMessage(frozenset({CHANNEL}))
    frames = (BODY, deliver(1), BODY, QOS_OK, BODY, deliver(2), BODY)
    assert [hold.takes(CHANNEL, frame) for frame in frames] == [False, True, True, False, False, True, True]
    assert not hold.takes((1, 2), deliver(3))
    hold.from_worker(CHANNEL, frame_of(commands.Basic.Cancel(consumer_tag="first")))
    assert [hold.takes(CHANNEL, frame) for frame in (CANCEL_OK, QOS_OK)] == [False, True]
    assert (hold.messages, hold.answers) == (2, 1)
