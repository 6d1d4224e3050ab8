"""What is read of a dead letter, whatever its publisher wrote."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue_operator.dead_letters.letter import NAME_BYTES, DeadLetter, line, read
from taskqueue_operator.resource import bounds
from tests.unit.dead_letters.values import HEADERS, VALUES

AT = datetime(2026, 11, 28, 12, tzinfo=UTC)
OF_A_WORKER: dict[str, object] = {
    "x-failure-reason": "failed",
    "x-failure-class": "LookupError",
    "x-failure-text": "no such image",
    "x-attempt": 3,
    "x-first-failure-at": "2026-11-28T11:00:00.000+00:00",
    "x-last-failure-at": "2026-11-28T12:00:00.000+00:00",
    "x-original-queue": "thumbnails",
    "x-original-exchange": "images",
    "x-original-routing-key": "image.resize",
}
OF_THE_BROKER: dict[str, object] = {
    "x-death": [
        {
            "reason": "rejected",
            "queue": "celery",
            "exchange": "tasks",
            "routing-keys": ["mail"],
            "time": AT,
            "count": 1,
        },
        {"reason": "expired", "queue": "earlier", "exchange": "", "routing-keys": ["earlier"], "time": AT, "count": 1},
    ]
}


def of(headers: dict[str, object], **properties: object) -> DeadLetter:
    given_: dict[str, Any] = {"message_id": "id-1", "message_type": None, "body_bytes": 7} | properties
    return read(headers, **given_)


def test_the_dead_letter_of_a_worker_says_what_failed_and_where_the_message_came_from() -> None:
    assert of(OF_A_WORKER, message_type="image.resize.v2") == DeadLetter(
        id="id-1",
        type="image.resize.v2",
        reason="failed",
        error_class="LookupError",
        error_text="no such image",
        attempt=3,
        first_failure=datetime(2026, 11, 28, 11, tzinfo=UTC),
        last_failure=AT,
        queue="thumbnails",
        exchange="images",
        routing_key="image.resize",
        body_bytes=7,
    )


def test_the_broker_tells_the_last_event_in_x_death() -> None:
    letter = of(OF_THE_BROKER)
    assert (letter.reason, letter.queue, letter.exchange, letter.routing_key) == ("rejected", "celery", "tasks", "mail")
    assert (letter.first_failure, letter.last_failure) == (AT, AT)


def test_without_a_type_the_original_routing_key_is_the_task_type() -> None:
    assert of(OF_A_WORKER).type == "image.resize"
    assert of(OF_THE_BROKER).type == "mail"


def test_a_message_that_says_nothing_has_empty_fields() -> None:
    assert of({}, message_id=None) == DeadLetter(body_bytes=7)


@pytest.mark.parametrize("name", ["q" * (NAME_BYTES + 1), "\ud800", 5, None, ["q"]])
def test_what_is_no_name_of_a_queue_is_none_and_not_the_name_of_another_one(name: object) -> None:
    assert of({"x-original-queue": name}).queue == ""


@pytest.mark.parametrize("time", ["yesterday", "9999-12-31T23:59:59-14:00", 5, None, "2026-11-28T12:00:00" * 1000])
def test_what_is_no_time_is_none(time: object) -> None:
    assert of({"x-last-failure-at": time}).last_failure is None


@pytest.mark.parametrize("attempt", [0, -1, True, 10**9, "3", 1.5])
def test_what_is_no_attempt_is_none(attempt: object) -> None:
    assert of({"x-attempt": attempt}).attempt is None


@given(HEADERS, VALUES, VALUES)
def test_whatever_the_headers_are_the_fields_are_bounded_and_printable(
    headers: dict[str, object], message_id: object, message_type: object
) -> None:
    letter = of(headers, message_id=message_id, message_type=message_type)
    shown = (letter.id, letter.type, letter.reason, letter.error_class, letter.error_text)
    assert all(text.isprintable() and len(text) <= bounds.DEAD_LETTER_TEXT_CHARACTERS for text in shown)
    for name in (letter.queue, letter.exchange or "", letter.routing_key or ""):
        assert len(name.encode()) <= NAME_BYTES
    for time in (letter.first_failure, letter.last_failure):
        assert time is None or time.tzinfo is UTC


@given(st.text(), st.integers(1, 50))
def test_a_line_is_printable_and_no_longer_than_asked(text: str, characters: int) -> None:
    shown = line(text, characters)
    assert shown.isprintable()
    assert len(shown) <= characters
    assert line(shown, characters) == shown
