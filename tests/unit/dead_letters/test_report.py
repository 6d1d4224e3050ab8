"""What is shown of dead letters is bounded, printable, and without what looks like a secret."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue_operator.dead_letters.groups import Groups
from taskqueue_operator.dead_letters.letter import DeadLetter, read
from taskqueue_operator.dead_letters.report import HIDDEN, body_text, groups_json, headers_json, letter_json
from taskqueue_operator.resource import bounds
from tests.unit.dead_letters.test_letter import OF_A_WORKER, of
from tests.unit.dead_letters.values import HEADERS


def test_a_listing_has_the_count_and_the_times_of_each_group() -> None:
    groups = Groups()
    groups.add(of(OF_A_WORKER))
    groups.add(DeadLetter())
    listing = groups_json("thumbnails.dlq", 9, 2, groups)
    assert listing["queue"] == "thumbnails.dlq"
    assert (listing["ready"], listing["read"]) == (9, 2)
    assert listing["groups"] == [
        {"type": "", "reason": "", "class": "", "count": 1, "bytes": 0, "oldest": None, "newest": None},
        {
            "type": "image.resize",
            "reason": "failed",
            "class": "LookupError",
            "count": 1,
            "bytes": 7,
            "oldest": "2026-11-28T12:00:00+00:00",
            "newest": "2026-11-28T12:00:00+00:00",
        },
    ]


@pytest.mark.parametrize(
    "name", ["Authorization", "x-api-key", "session_id", "db-password", "AWS_SECRET", "Set-Cookie"]
)
def test_a_header_that_looks_like_a_secret_is_not_shown(name: str) -> None:
    assert headers_json({name: "canary", "author": "shown"}) == {name: HIDDEN, "author": "shown"}


def test_of_tables_lists_and_bytes_the_size_is_shown() -> None:
    shown = headers_json({"table": {"password": "canary"}, "list": [1, 2], "bytes": b"canary"})
    assert shown == {"table": "(1 values)", "list": "(2 values)", "bytes": "(6 bytes)"}


def test_headers_that_other_fields_show_are_left_out() -> None:
    assert headers_json(OF_A_WORKER) == {}


@given(HEADERS, st.binary())
def test_whatever_a_message_contains_it_is_shown_as_bounded_json(headers: dict[str, object], body: bytes) -> None:
    letter = read(headers, message_id=None, message_type=None, body_bytes=len(body))
    shown = letter_json(letter, headers, None, body)
    json.dumps(shown)
    others = shown["headers"]
    assert isinstance(others, dict)
    assert len(others) <= bounds.DEAD_LETTER_HEADERS
    for text in (*others, *others.values(), body_text(body)):
        assert text.isprintable()
        assert len(text) <= bounds.DEAD_LETTER_TEXT_CHARACTERS
