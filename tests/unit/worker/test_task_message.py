"""What a publisher writes: properties, headers, the envelope, and when the task may run."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Literal

import pytest
from aio_pika import DeliveryMode

from taskqueue_worker.bounds import HEADERS_BYTES, PAYLOAD_BYTES
from taskqueue_worker.payload import PayloadError
from taskqueue_worker.publishing.schedule import Schedule
from taskqueue_worker.publishing.task_message import task_message
from tests.approved import assert_approved

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
CEST = timezone(timedelta(hours=2))


def test_properties_and_headers_say_all_but_the_payload() -> None:
    message = task_message(
        {"n": 1},
        NOW,
        Schedule(),
        type="work",
        message_id="m",
        version=2,
        correlation_id="c",
        headers={"tenant": "acme"},
        priority=7,
    )
    assert (message.body, message.content_type) == (b'{"n":1}', "application/json")
    assert (message.type, message.message_id, message.correlation_id) == ("work", "m", "c")
    assert message.headers == {"tenant": "acme", "x-version": 2}
    assert (message.priority, message.timestamp, message.expiration) == (7, NOW, None)
    assert message.delivery_mode == DeliveryMode.PERSISTENT


def test_without_options_there_is_no_header() -> None:
    assert task_message({}, NOW, Schedule(), type="work", message_id="m").headers == {}


def test_bytes_are_the_body() -> None:
    message = task_message(b"\x89PNG", NOW, Schedule(), type="work")
    assert (message.body, message.content_type) == (b"\x89PNG", "application/octet-stream")


def test_the_envelope_says_all_of_the_task_and_properties_say_it_too() -> None:
    message = task_message(
        {"n": 1}, NOW, Schedule(), type="work", message_id="m", version=2, correlation_id="c", envelope="json"
    )
    assert json.loads(message.body) == {
        "id": "m",
        "type": "work",
        "version": 2,
        "timestamp": "2026-01-31T12:00:00.000+00:00",
        "data": {"n": 1},
        "metadata": {"correlation_id": "c", "retry_count": 0},
    }
    assert message.content_type == "application/vnd.taskqueue+json"
    assert (message.type, message.message_id, message.correlation_id) == ("work", "m", "c")


def test_a_task_that_expires_says_so_to_the_broker_and_to_the_worker() -> None:
    message = task_message({}, NOW, Schedule.of(NOW, expires=90), type="work")
    assert message.expiration == timedelta(seconds=90)
    assert message.headers == {"x-expires-at": "2026-01-31T12:01:30.000+00:00"}


@pytest.mark.parametrize(
    ("properties", "error", "name"),
    [
        ({"type": ""}, TypeError, "type"),
        ({"type": "x" * 256}, ValueError, "type"),
        ({"message_id": "x" * 256}, ValueError, "message_id"),
        ({"correlation_id": "ä" * 128}, ValueError, "correlation_id"),
        ({"priority": 256}, ValueError, "priority"),
        ({"priority": -1}, ValueError, "priority"),
        ({"version": 0}, ValueError, "version"),
        ({"version": "1"}, ValueError, "version"),
        ({"envelope": "xml"}, ValueError, "envelope"),
        ({"corelation_id": "x"}, TypeError, "corelation_id"),
    ],
)
def test_a_property_that_is_not_valid_is_named(properties: dict[str, Any], error: type[Exception], name: str) -> None:
    with pytest.raises(error, match=name):
        task_message({}, NOW, Schedule(), **{"type": "work", **properties})


@pytest.mark.parametrize("envelope", [None, "json"])
def test_a_payload_that_json_does_not_have_is_refused(envelope: Literal["json"] | None) -> None:
    with pytest.raises(PayloadError):
        task_message({"n": float("nan")}, NOW, Schedule(), type="work", envelope=envelope)
    with pytest.raises(TypeError):
        task_message({"n": object()}, NOW, Schedule(), type="work", envelope=envelope)


def test_bytes_have_no_envelope() -> None:
    with pytest.raises(TypeError, match="bytes"):
        task_message(b"", NOW, Schedule(), type="work", envelope="json")


# Schedules.


@pytest.mark.parametrize(
    ("times", "delay_ms", "expires_after"),
    [
        ({}, 0, None),
        ({"delay": 0}, 0, None),
        ({"delay": 1.5}, 1500, None),
        ({"delay": 0.0001}, 1, None),
        ({"delay": timedelta(minutes=1)}, 60_000, None),
        ({"not_before": NOW + timedelta(hours=9)}, 9 * 3_600_000, None),
        ({"not_before": NOW - timedelta(days=9)}, 0, None),
        ({"not_before": datetime(2026, 1, 31, 14, 0, 5, tzinfo=CEST)}, 5000, None),
        ({"expires": 5}, 0, 5),
        ({"expires": timedelta(days=49)}, 0, 49 * 86_400),
        ({"expires": NOW.astimezone(CEST) + timedelta(seconds=5)}, 0, 5),
        ({"delay": 10, "expires": 11}, 10_000, 11),
    ],
)
def test_a_schedule_is_a_delay_and_an_expiry(times: dict[str, Any], delay_ms: int, expires_after: int | None) -> None:
    schedule = Schedule.of(NOW, **times)
    expected = None if expires_after is None else NOW + timedelta(seconds=expires_after)
    assert (schedule.delay_ms, schedule.expires_at) == (delay_ms, expected)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ({"delay": -1}, "delay=-1"),
        ({"delay": float("nan")}, "delay=nan"),
        ({"delay": float("inf")}, "delay=inf"),
        ({"delay": 32_769}, "outbox"),
        ({"not_before": NOW + timedelta(hours=10)}, "outbox"),
        ({"not_before": NOW.replace(tzinfo=None)}, "not_before has no time zone"),
        ({"delay": 1, "not_before": NOW}, "not both"),
        ({"expires": NOW.replace(tzinfo=None)}, "expires has no time zone"),
        ({"expires": 0}, "expires is not later"),
        ({"expires": NOW}, "expires is not later"),
        ({"expires": timedelta(days=50)}, "expires="),
        ({"expires": NOW + timedelta(days=50)}, "expires="),
        ({"delay": 10, "expires": 10}, "expires is not later"),
    ],
)
def test_a_time_that_is_not_valid_is_named(times: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Schedule.of(NOW, **times)


def test_messages_name_the_option_and_the_way_out() -> None:
    def refused(**times: Any) -> str:  # noqa: ANN401 - of every type
        with pytest.raises(ValueError, match=min(times)) as error:
            Schedule.of(NOW, **times)
        return str(error.value)

    assert_approved("worker.publish.delay", refused(delay=99_999))
    assert_approved("worker.publish.not_before", refused(not_before=NOW + timedelta(days=1)))
    assert_approved("worker.publish.no_zone", refused(expires=NOW.replace(tzinfo=None)))
    with pytest.raises(ValueError, match="priority") as error:
        task_message({}, NOW, Schedule(), type="work", priority=1000)
    assert_approved("worker.publish.priority", str(error.value))


def test_headers_that_do_not_fit_into_one_frame_are_refused() -> None:
    # The broker would close the connection, and with it refuse what others publish on it.
    with pytest.raises(ValueError, match="headers") as refused:
        task_message({}, NOW, Schedule(), type="work", message_id="m", headers={"note": "n" * HEADERS_BYTES})
    assert_approved("publisher.headers", str(refused.value))


@pytest.mark.parametrize("envelope", [None, "json"])
def test_a_json_body_that_no_worker_decodes_is_refused(envelope: Literal["json"] | None) -> None:
    with pytest.raises(PayloadError, match=str(PAYLOAD_BYTES)):
        task_message("n" * PAYLOAD_BYTES, NOW, Schedule(), type="work", message_id="m", envelope=envelope)
