"""Which message is next: the queues of a worker take turns."""

from hypothesis import given
from hypothesis import strategies as st

from taskqueue_worker.waiting_messages import WaitingMessages


def waiting(*messages: str) -> WaitingMessages[str]:
    found = WaitingMessages[str](lambda message: message[0])
    for message in messages:
        found.add(message)
    return found


def taken(messages: WaitingMessages[str], count: int) -> list[str]:
    return [messages.take_next() for _ in range(count)]


def test_queues_take_turns_and_each_keeps_its_order() -> None:
    assert taken(waiting("a1", "a2", "a3", "b1", "c1", "b2"), 6) == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_a_queue_that_was_empty_is_served_before_the_one_that_was_served_last() -> None:
    messages = waiting("a1", "a2", "a3", "a4")
    assert taken(messages, 2) == ["a1", "a2"]
    messages.add("b1")
    assert taken(messages, 2) == ["b1", "a3"]
    messages.add("b2")
    assert taken(messages, 2) == ["b2", "a4"]


def test_an_urgent_message_comes_before_all_turns() -> None:
    messages = waiting("a1", "b1")
    messages.add_first("b0")
    assert messages.next == "b0"
    assert messages.first == ["b0", "a1", "b1"]
    assert taken(messages, 3) == ["b0", "a1", "b1"]
    assert messages.next is None


def test_the_queue_that_was_served_last_is_the_last_one() -> None:
    messages = waiting("a1", "b1")
    assert (messages.turn_of("a"), messages.turn_of("b")) == (0, 0)
    taken(messages, 2)
    assert (messages.turn_of("a"), messages.turn_of("b"), messages.turn_of("c")) == (0.5, 1, 0)


def test_withdrawn_messages_are_gone_and_the_others_keep_their_order() -> None:
    messages = waiting("a1", "b1", "a2", "a3")
    messages.add_first("b0")
    assert set(messages.withdraw(lambda message: message in {"b0", "a2"})) == {"b0", "a2"}
    assert len(messages) == 3
    assert taken(messages, 3) == ["a1", "b1", "a3"]


@given(st.lists(st.sampled_from("abcd"), max_size=40), st.integers(1, 40))
def test_no_queue_waits_for_more_than_one_message_of_each_other_one(arrivals: list[str], count: int) -> None:
    messages = waiting(*(f"{queue}{number}" for number, queue in enumerate(arrivals)))
    started = [message[0] for message in taken(messages, min(count, len(arrivals)))]
    left = {message[0] for message in messages}
    for queue in left:
        since = max((position for position, other in enumerate(started) if other == queue), default=-1)
        others = started[since + 1 :]
        assert len(others) == len(set(others))
