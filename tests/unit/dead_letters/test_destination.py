"""Where a dead letter may return to, and what its copy says."""

from dataclasses import replace

import pytest
from hypothesis import given

from taskqueue_operator.dead_letters.destination import EXPLANATIONS, Destinations, Kept, returning_headers
from taskqueue_operator.dead_letters.letter import DeadLetter, read
from tests.unit.dead_letters.test_letter import OF_A_WORKER, OF_THE_BROKER, of
from tests.unit.dead_letters.values import HEADERS

QUEUES = Destinations(frozenset({"a", "b"}))


@pytest.mark.parametrize(
    ("letter", "expected"),
    [
        (DeadLetter(queue="a"), "a"),
        (DeadLetter(queue="b"), "b"),
        (DeadLetter(queue="elsewhere"), Kept.OTHER_QUEUE),
        (DeadLetter(queue="taskqueue.interim.a"), "a"),
        (DeadLetter(queue="taskqueue.interim.elsewhere"), Kept.OTHER_QUEUE),
        (DeadLetter(), Kept.UNKNOWN_QUEUE),
        (DeadLetter(queue="a", is_whole=False), Kept.INCOMPLETE),
    ],
)
def test_a_dead_letter_returns_only_to_a_queue_that_the_user_names(letter: DeadLetter, expected: str) -> None:
    assert QUEUES.of(letter) == expected


def test_a_dead_letter_of_unknown_origin_returns_to_the_queue_that_the_user_names_for_it() -> None:
    assert replace(QUEUES, unknown="b").of(DeadLetter()) == "b"


def test_every_reason_to_stay_has_an_explanation() -> None:
    assert set(EXPLANATIONS) == set(Kept)


def test_the_copy_has_no_failure_and_no_attempt_and_still_says_where_the_task_came_from() -> None:
    headers = {
        **OF_A_WORKER,
        "tenant": "acme",
        "x-dropped-headers": "large",
        "x-expires-at": "now",
        "CC": ["elsewhere"],
        "x-suspect": True,
    }
    assert returning_headers(headers, of(headers)) == {
        "tenant": "acme",
        "x-original-exchange": "images",
        "x-original-routing-key": "image.resize",
    }


def test_the_copy_of_what_the_broker_dead_lettered_has_none_of_its_headers() -> None:
    headers = {
        **OF_THE_BROKER,
        "x-first-death-queue": "celery",
        "x-last-death-reason": "rejected",
        "x-delivery-count": 101,
        "x-acquired-count": 101,
    }
    copy = returning_headers(headers, of(headers))
    assert copy == {"x-original-exchange": "tasks", "x-original-routing-key": "mail"}


@given(HEADERS)
def test_a_copy_that_fails_again_counts_from_the_beginning(headers: dict[str, object]) -> None:
    letter = read(headers, message_id=None, message_type=None, body_bytes=0)
    copy = returning_headers(headers, letter)
    again = read(copy, message_id=None, message_type=None, body_bytes=0)
    assert (again.reason, again.attempt, again.first_failure, again.last_failure, again.queue) == (
        "",
        None,
        None,
        None,
        "",
    )
    assert (again.exchange, again.routing_key) == (letter.exchange, letter.routing_key)
    assert not {"CC", "BCC", "x-death", "x-delivery-count"} & copy.keys()
