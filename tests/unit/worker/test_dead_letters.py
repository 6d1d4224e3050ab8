"""Copies of messages: dead letters, and messages that return to their queue."""

from datetime import UTC, datetime
from typing import Any

import pamqp.encode
import pytest

from taskqueue_worker.bounds import HEADERS_BYTES, TEXT_CHARACTERS
from taskqueue_worker.dead_letters import Problem, dead_letter, one_line, original_routing_key, returning
from tests.unit.worker.messages import delivery

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
PROBLEM = Problem("failed", "LookupError", "no such image")


def message(**headers: Any) -> Any:  # noqa: ANN401 - an aio-pika message, which tests change
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return delivery(body=b"body", content_type="image/png", headers=named).message


def test_a_dead_letter_says_what_went_wrong_when_and_where_it_came_from() -> None:
    letter = dead_letter(message(tenant="acme"), "q", 3, PROBLEM, NOW)
    assert (letter.body, letter.content_type, letter.message_id, letter.type) == (b"body", "image/png", "id", "t")
    assert letter.headers == {
        "tenant": "acme",
        "x-failure-reason": "failed",
        "x-failure-class": "LookupError",
        "x-failure-text": "no such image",
        "x-attempt": 3,
        "x-first-failure-at": "2026-11-28T12:00:00.000+00:00",
        "x-last-failure-at": "2026-11-28T12:00:00.000+00:00",
        "x-original-queue": "q",
        "x-original-exchange": "x",
        "x-original-routing-key": "by.key",
    }


def test_what_the_first_copy_says_of_the_origin_stays() -> None:
    first = returning(message(), {"x-attempt": 2}, NOW)
    again = message(**{name.replace("-", "_"): value for name, value in first.headers.items()})
    again.exchange, again.routing_key = "", "q"
    assert original_routing_key(again.headers, again.routing_key) == "by.key"
    letter = dead_letter(again, "q", 5, PROBLEM, datetime(2027, 1, 1, tzinfo=UTC))
    assert letter.headers["x-original-exchange"] == "x"
    assert letter.headers["x-original-routing-key"] == "by.key"
    assert letter.headers["x-first-failure-at"] == "2026-11-28T12:00:00.000+00:00"
    assert letter.headers["x-last-failure-at"] == "2027-01-01T00:00:00.000+00:00"


@pytest.mark.parametrize("name", ["CC", "BCC", "x_death", "x_first_death_queue", "x_delivery_count", "x_suspect"])
def test_headers_that_the_broker_would_act_on_or_has_written_are_left_out(name: str) -> None:
    original = message(**{name: ["elsewhere"]})
    assert name.replace("_", "-") not in dead_letter(original, "q", 1, PROBLEM, NOW).headers
    assert name.replace("_", "-") not in returning(original, {}, NOW).headers


def test_a_dead_letter_does_not_expire_and_a_returning_message_may() -> None:
    original = message()
    original.expiration, original.user_id = 60, "tenant"
    assert dead_letter(original, "q", 1, PROBLEM, NOW).expiration is None
    copy = returning(original, {}, NOW)
    assert (copy.expiration, copy.user_id) == (60, None)


def test_headers_that_do_not_fit_into_a_frame_are_left_out_and_named() -> None:
    original = message(small="kept", large="l" * HEADERS_BYTES, larger="l" * 100_000)
    headers = dead_letter(original, "q", 1, PROBLEM, NOW).headers
    assert headers["small"] == "kept"
    assert headers["x-dropped-headers"] == "larger, large"
    assert len(pamqp.encode.field_table(headers)) < 2 * HEADERS_BYTES


@pytest.mark.parametrize("name", ["x-original-routing-key", "x-original-exchange", "x-first-failure-at"])
def test_a_text_that_no_copy_has_recorded_is_not_repeated(name: str) -> None:
    original = message(**{name: "x" * 130_000})
    assert original_routing_key(original.headers, original.routing_key) == "by.key"
    for copy in (dead_letter(original, "q", 1, PROBLEM, NOW), returning(original, {}, NOW)):
        assert len(str(copy.headers[name])) < 100
        assert copy.headers["x-original-routing-key"] == "by.key"


def test_a_reply_to_a_consumer_of_the_same_channel_is_left_out() -> None:
    original = message()
    for reply_to, copied in (
        ("amq.rabbitmq.reply-to", None),
        ("amq.rabbitmq.reply-to.g1h2", "amq.rabbitmq.reply-to.g1h2"),
    ):
        original.reply_to = reply_to
        assert dead_letter(original, "q", 1, PROBLEM, NOW).reply_to == copied
        assert returning(original, {}, NOW).reply_to == copied


def test_headers_that_cannot_be_written_are_left_out_and_named() -> None:
    headers = dead_letter(message(raw=b"\xff", nested=[b"\xff"], small="kept"), "q", 1, PROBLEM, NOW).headers
    assert (headers["raw"], headers["small"], headers["x-dropped-headers"]) == (b"\xff", "kept", "nested")
    pamqp.encode.field_table(headers)


@pytest.mark.parametrize(
    ("text", "line"),
    [("a\n\n\tb  c", "a b c"), ("x" * 5000, "x" * TEXT_CHARACTERS), ("\n" * 10_000_000, ""), ("\ud800", "\\ud800")],
)
def test_the_text_of_an_error_is_one_short_line_of_valid_unicode(text: str, line: str) -> None:
    assert one_line(text) == line
