"""Operator and worker share no code: what a worker writes into a dead letter, the commands read and remove."""

from datetime import UTC, datetime

from taskqueue_operator.dead_letters.destination import returning_headers
from taskqueue_operator.dead_letters.letter import read
from taskqueue_worker.dead_letters import Problem, dead_letter, original_routing_key
from tests.unit.worker.messages import delivery

AT = datetime(2026, 11, 28, 12, tzinfo=UTC)
PROBLEM = Problem("failed", "LookupError", "no such image")


def test_a_dead_letter_of_a_worker_returns_as_the_message_that_was_published() -> None:
    published = delivery(headers={"tenant": "a"}).message
    sent = dead_letter(published, "thumbnails", 3, PROBLEM, AT)
    letter = read(sent.headers, message_id="id", message_type=None, body_bytes=4)
    assert (letter.reason, letter.error_class, letter.error_text) == ("failed", "LookupError", "no such image")
    assert (letter.queue, letter.attempt, letter.first_failure, letter.last_failure) == ("thumbnails", 3, AT, AT)

    headers = returning_headers(sent.headers, letter)

    origin = {"x-original-exchange": published.exchange, "x-original-routing-key": published.routing_key}
    assert headers == {"tenant": "a", **origin}
    # A worker reads the task type from it.
    assert letter.type == original_routing_key(headers, "thumbnails") == published.routing_key
