"""Which messages have a JSON envelope, what it says, and what is refused."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue_worker.envelope import task_headers
from taskqueue_worker.envelope.json_envelope import CONTENT_TYPE, Envelope, open_envelope
from taskqueue_worker.payload import PayloadError
from tests.approved import assert_approved
from tests.hostile_json import hostile_json
from tests.unit.worker.messages import delivery

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
WHOLE = {
    "id": "7d1f",
    "type": "email.send",
    "version": 2,
    "timestamp": "2026-01-31T12:00:00Z",
    "data": {"to": "a@example.com"},
    "metadata": {"correlation_id": "order-9", "retry_count": 3},
}
LEAST = {"id": "7d1f", "type": "email.send", "data": None}


def opened(document: object, content_type: str | None = CONTENT_TYPE, message_type: str | None = None) -> Envelope:
    envelope = open_envelope(json.dumps(document).encode(), content_type, message_type)
    assert envelope is not None
    return envelope


def test_an_envelope_says_all_of_a_task() -> None:
    data = {"to": "a@example.com"}
    assert opened(WHOLE) == Envelope("7d1f", "email.send", data, 2, NOON, "order-9", 3)


def test_identity_type_and_data_are_enough() -> None:
    assert opened(LEAST) == Envelope("7d1f", "email.send", None)


@pytest.mark.parametrize(
    ("content_type", "message_type", "has_envelope"),
    [
        (CONTENT_TYPE, None, True),
        (CONTENT_TYPE, "another", True),
        (f"{CONTENT_TYPE}; charset=utf-8", "another", True),
        ("application/json", None, True),
        (None, None, True),
        ("", "", True),
        ("application/json", "email.send", False),
        ("application/json; charset=utf-8", "email.send", False),
        (None, "email.send", False),
        ("application/octet-stream", None, False),
    ],
)
def test_content_type_or_a_missing_type_make_an_envelope(
    content_type: str | None,
    message_type: str | None,
    has_envelope: bool,  # noqa: FBT001 - an expected result
) -> None:
    assert (open_envelope(json.dumps(WHOLE).encode(), content_type, message_type) is not None) is has_envelope


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"7",
        b'["id", "type", "data"]',
        b'"{\\"id\\": 1, \\"type\\": 2, \\"data\\": 3}"',
        b'{"id": 7, "type": "t", "data": 1}',
        b'{"id": "7", "type": null, "data": 1}',
        b'{"id": "7", "type": "t", "payload": "data"}',
        b'{"id": "7", "type": "t", "inner": {"data": 1}}',
        b'{"id": "7", "type": "t", "data": NaN}',
        b'{"id": "7", "type": "t", "data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_another_body_without_type_is_a_payload(body: bytes) -> None:
    assert open_envelope(body, "application/json", None) is None


def test_escaped_names_of_fields_are_those_names() -> None:
    assert open_envelope(b'{"\\u0069d": "7", "type": "t", "data": 1}', None, None) == Envelope("7", "t", 1)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"id": ""}, "id"),
        ({"id": "x" * 256}, "id"),
        ({"id": "ä" * 128}, "id"),
        ({"type": ""}, "type"),
        ({"version": 0}, "version"),
        ({"version": -1}, "version"),
        ({"version": 2**31}, "version"),
        ({"version": True}, "version"),
        ({"version": 1.5}, "version"),
        ({"version": "1.1"}, "version"),
        ({"version": "٣"}, "version"),
        ({"version": "9" * 5000}, "version"),
        ({"version": []}, "version"),
        ({"timestamp": "yesterday"}, "timestamp"),
        ({"timestamp": "2026-01-31T12:00:00Z" + " " * 9_999}, "timestamp"),
        ({"timestamp": 1e300}, "timestamp"),
        ({"timestamp": True}, "timestamp"),
        ({"timestamp": "0001-01-01T00:00:00+23:59"}, "timestamp"),
        ({"metadata": []}, "metadata"),
        ({"metadata": "x"}, "metadata"),
        ({"metadata": {"correlation_id": 7}}, "metadata.correlation_id"),
        ({"metadata": {"retry_count": -1}}, "metadata.retry_count"),
        ({"metadata": {"retry_count": "3"}}, "metadata.retry_count"),
        ({"metadata": {"retry_count": False}}, "metadata.retry_count"),
    ],
)
def test_a_field_that_is_not_valid_is_named(changed: dict[str, Any], field: str) -> None:
    with pytest.raises(PayloadError, match=rf"field {field} "):
        opened({**WHOLE, **changed}, None)


@pytest.mark.parametrize(
    "document", [7, [], {}, {"id": "7", "type": "t"}, {"id": 7, "type": "t", "data": 1}, {"type": "t", "data": 1}]
)
def test_the_content_type_promises_an_envelope(document: object) -> None:
    with pytest.raises(PayloadError):
        opened(document)


def test_half_a_surrogate_pair_is_no_name() -> None:
    # The exponent lets the standard library decode the body, which accepts it.
    with pytest.raises(PayloadError, match="field id "):
        open_envelope(b'{"id": "\\ud800", "type": "t", "data": 1e100}', CONTENT_TYPE, None)


@pytest.mark.parametrize(
    ("stated", "version"), [(1, 1), ("1", 1), ("2.0", 2), ("0010", 10), (None, 1), (2**31 - 1, 2**31 - 1)]
)
def test_a_version_is_a_whole_number_or_its_text(stated: object, version: int) -> None:
    assert opened({**LEAST, "version": stated}).version == version


@pytest.mark.parametrize(
    "stated", ["2026-01-31T12:00:00", "2026-01-31T12:00:00.000Z", "2026-01-31T14:00:00+02:00", NOON.timestamp()]
)
def test_a_timestamp_without_zone_is_in_utc(stated: object) -> None:
    assert opened({**LEAST, "timestamp": stated}).timestamp == NOON


def test_a_retry_count_without_end_is_bounded() -> None:
    assert opened({**LEAST, "metadata": {"retry_count": 10**30}}).retry_count == 999_999


def test_what_the_envelope_does_not_have_is_ignored() -> None:
    assert opened({**LEAST, "source": "web", "metadata": {"tenant": 7}}) == Envelope("7d1f", "email.send", None)


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
JSON_VALUES = st.recursive(st.none() | st.booleans() | st.integers() | NAMES, lambda inner: st.lists(inner, max_size=3))


@given(
    st.builds(
        Envelope,
        id=NAMES,
        type=NAMES,
        data=st.dictionaries(NAMES, JSON_VALUES, max_size=3) | JSON_VALUES,
        version=st.integers(1, 2**31 - 1),
        timestamp=st.none() | st.just(NOON),
        correlation_id=st.none() | NAMES,
        retry_count=st.integers(0, 100),
    )
)
def test_what_is_written_is_read(envelope: Envelope) -> None:
    assert open_envelope(envelope.encode(), CONTENT_TYPE, envelope.type) == envelope
    assert open_envelope(envelope.encode(), None, None) == envelope


@given(hostile_json(WHOLE))
def test_whatever_the_body_is_only_a_payload_error_is_raised(body: bytes) -> None:
    for content_type in (CONTENT_TYPE, None):
        with suppress(PayloadError):
            open_envelope(body, content_type, None)


def test_messages_name_the_field_and_the_way_out() -> None:
    def refused(**changed: object) -> str:
        with pytest.raises(PayloadError) as error:
            opened({**WHOLE, **changed})
        return str(error.value)

    assert_approved("worker.envelope.name", refused(id=7))
    assert_approved("worker.envelope.version", refused(version="newest"))
    assert_approved("worker.envelope.timestamp", refused(timestamp="yesterday"))
    assert_approved("worker.envelope.metadata", refused(metadata=[]))
    assert_approved("worker.envelope.retry_count", refused(metadata={"retry_count": -1}))
    with pytest.raises(PayloadError) as error:
        opened({"id": "7", "type": "t"})
    assert_approved("worker.envelope.no_data", str(error.value))
    with pytest.raises(PayloadError) as error:
        task_headers.expires_at({"x-expires-at": "soon"})
    assert_approved("worker.header.expires_at", str(error.value))


# Deliveries.


def test_a_delivery_has_what_its_envelope_says() -> None:
    delivered = delivery(None, body=json.dumps(WHOLE).encode(), message_id="other", correlation_id="other")
    assert (delivered.type, delivered.task_id, delivered.version) == ("email.send", "7d1f", 2)
    assert (delivered.correlation_id, delivered.payload()) == ("order-9", {"to": "a@example.com"})
    assert delivered.published_at == NOON


def test_a_delivery_without_envelope_has_what_its_properties_say() -> None:
    delivered = delivery(body=json.dumps(WHOLE).encode(), message_id="m", correlation_id="c", headers={"x-version": 3})
    assert (delivered.type, delivered.task_id, delivered.version) == ("t", "m", 3)
    assert (delivered.correlation_id, delivered.payload()) == ("c", WHOLE)


@pytest.mark.parametrize(("headers", "attempt"), [({}, 4), ({"x-attempt": 2}, 2)])
def test_the_retry_count_is_the_attempt_of_a_message_that_has_none(headers: dict[str, Any], attempt: int) -> None:
    assert delivery(None, body=json.dumps(WHOLE).encode(), headers=headers).attempt.number == attempt


def test_a_waiting_delivery_holds_no_decoded_payload() -> None:
    envelope = delivery(None, body=json.dumps(WHOLE).encode()).envelope
    assert envelope is not None
    assert envelope.data is None


def test_an_envelope_that_is_not_valid_is_the_problem_of_its_delivery() -> None:
    delivered = delivery("t", content_type=CONTENT_TYPE, body=b"[]")
    assert (delivered.type, delivered.envelope) == ("t", None)
    assert "The body is no JSON object" in delivered.problem


# Headers.


@pytest.mark.parametrize("value", ["1", 0, -1, 2**31, True, None, [], b"1", 1.0])
def test_a_version_that_is_no_whole_number_is_refused(value: object) -> None:
    with pytest.raises(PayloadError, match="x-version"):
        task_headers.version({"x-version": value})


@pytest.mark.parametrize("value", ["soon", 7, None, [], b"2026", "2026-01-31T12:00:00" + "0" * 99])
def test_an_expiry_that_is_no_time_is_refused(value: object) -> None:
    with pytest.raises(PayloadError, match="x-expires-at"):
        task_headers.expires_at({"x-expires-at": value})


def test_an_expiry_is_a_time_in_utc() -> None:
    assert task_headers.expires_at({}) is None
    assert task_headers.expires_at({"x-expires-at": "2026-01-31T13:00:00+01:00"}) == NOON
    assert task_headers.expires_at({"x-expires-at": task_headers.format_time(NOON)}) == NOON
