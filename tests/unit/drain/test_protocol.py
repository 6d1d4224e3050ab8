import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskqueue_operator.drain.protocol import Command, FencingToken, Report, Result, State, Unreadable, Verb
from taskqueue_operator.resource.bounds import REPORT_DEPENDENCIES, REPORT_NUMBER, REPORT_TEXT_CHARACTERS
from tests.hostile_json import hostile_json

EXAMPLE: dict[str, Any] = {
    "version": 1,
    "taskqueue": "media/thumbnails",
    "pod": "8c0c1a52-9d0c-4a8b-8a53-0b8e0f3a5d10",
    "incarnation": "5f2b8f0f6c0e4b6f9a3f6d1f4a7c9e21",
    "number": 17,
    "state": "draining",
    "in_flight": 1,
    "prefetched": 0,
    "idle_seconds": 0,
    "oldest_seconds": 42.5,
    "completed": 41,
    "failed": 1,
    "busy_seconds": 812.4,
    "task_timeout_seconds": 300,
    "drain": {"installation": "default", "epoch": 1795000000, "seq": 4},
    "answer": {"id": "b1f0c0de", "result": "done", "reason": None},
}


def parsed(**changes: object) -> Report:
    return Report.parse(json.dumps(EXAMPLE | changes).encode())


def test_the_documented_report_is_parsed() -> None:
    report = parsed()
    assert (report.state, report.number, report.oldest_seconds) == (State.DRAINING, 17, 42.5)
    assert report.drain is not None
    assert (report.drain.installation, report.drain.epoch, report.drain.seq) == ("default", 1795000000, 4)
    assert report.answer is not None
    assert (report.answer.id, report.answer.result, report.answer.reason) == ("b1f0c0de", Result.DONE, None)


def test_nullable_fields_may_be_null() -> None:
    report = parsed(drain=None, answer=None, oldest_seconds=None)
    assert (report.drain, report.answer, report.oldest_seconds) == (None, None, None)


def test_unknown_fields_are_ignored() -> None:
    drain = {"installation": "default", "epoch": 1, "seq": 1, "note": "new"}
    assert parsed(mood="fine", drain=drain).number == 17


def test_a_report_of_an_earlier_worker_says_nothing_of_dead_letters_that_wait() -> None:
    assert parsed().dead_letters_blocked == 0
    assert parsed(dead_letters_blocked=3).dead_letters_blocked == 3


def test_a_report_of_an_earlier_worker_names_no_dependency() -> None:
    assert parsed().unavailable_dependencies == ()
    assert parsed(unavailable_dependencies=["payments", "mail.example-1"]).unavailable_dependencies == (
        "payments",
        "mail.example-1",
    )


@pytest.mark.parametrize("field", EXAMPLE)
def test_a_report_with_a_missing_field_is_unreadable_and_the_field_is_named(field: str) -> None:
    body = {name: value for name, value in EXAMPLE.items() if name != field}
    with pytest.raises(Unreadable, match=f"^{field}: "):
        Report.parse(json.dumps(body).encode())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", 2),
        ("version", "1"),
        ("taskqueue", None),
        ("pod", 8),
        ("incarnation", "short"),
        ("incarnation", "G" * 32),
        ("number", 0),
        ("number", 1.5),
        ("number", True),
        ("state", "asleep"),
        ("in_flight", -1),
        ("prefetched", "0"),
        ("idle_seconds", None),
        ("idle_seconds", -0.1),
        ("oldest_seconds", "long"),
        ("busy_seconds", float("nan")),
        ("task_timeout_seconds", float("inf")),
        ("dead_letters_blocked", -1),
        ("dead_letters_blocked", REPORT_NUMBER + 1),
        ("dead_letters_blocked", None),
        ("unavailable_dependencies", None),
        ("unavailable_dependencies", "payments"),
        ("unavailable_dependencies", ["a"] * (REPORT_DEPENDENCIES + 1)),
        ("drain", ["default", 1, 4]),
        ("drain.seq", None),
        ("answer.result", "maybe"),
    ],
)
def test_a_report_with_a_field_of_another_type_or_version_is_unreadable_and_the_field_is_named(
    field: str, value: object
) -> None:
    outer, _, inner = field.partition(".")
    with pytest.raises(Unreadable, match=f"^{field}: "):
        parsed(**{outer: EXAMPLE[outer] | {inner: value} if inner else value})


@pytest.mark.parametrize("message", [b"", b"null", b"[]", b'"report"', b"\xff\xfe", b"{", b"[" * 100_000])
def test_a_message_that_is_no_report_is_unreadable(message: bytes) -> None:
    with pytest.raises(Unreadable):
        Report.parse(message)


def test_the_reason_contains_no_part_of_the_message() -> None:
    with pytest.raises(Unreadable) as caught:
        parsed(state="password")
    assert "password" not in str(caught.value)
    assert caught.value.__cause__ is None


@given(st.binary(max_size=200))
def test_any_other_bytes_raise_no_other_error(message: bytes) -> None:
    with pytest.raises(Unreadable):
        Report.parse(message)


def test_a_command_is_written_as_documented() -> None:
    command = Command("b1f0c0de", Verb.DRAIN, EXAMPLE["incarnation"], "default", 1795000000, 4)
    assert json.loads(command.write()) == {
        "version": 1,
        "id": "b1f0c0de",
        "command": "drain",
        "incarnation": "5f2b8f0f6c0e4b6f9a3f6d1f4a7c9e21",
        "installation": "default",
        "epoch": 1795000000,
        "seq": 4,
        "lease_seconds": 60,
    }


NUMBERS = st.integers(0, 10**20 - 1)


@given(st.tuples(NUMBERS, NUMBERS), st.tuples(NUMBERS, NUMBERS))
def test_tokens_are_parsed_as_written_and_ordered_by_epoch_then_seq(
    first: tuple[int, int], second: tuple[int, int]
) -> None:
    assert FencingToken.parse(str(FencingToken(*first))) == FencingToken(*first)
    assert (FencingToken(*first) < FencingToken(*second)) == (first < second)


@pytest.mark.parametrize("annotation", ["", "7", "7.", ".1", "7.1.2", "-7.1", "a.b", "7.²", "9" * 5000 + ".1"])
def test_an_annotation_of_another_form_is_no_token(annotation: str) -> None:
    assert FencingToken.parse(annotation) is None


@settings(max_examples=100)
@given(hostile_json(EXAMPLE))
def test_any_message_is_a_report_within_bounds_or_unreadable(message: bytes) -> None:
    try:
        report = Report.parse(message)
    except Unreadable:
        return
    assert max(report.number, report.in_flight, report.completed) <= REPORT_NUMBER
    assert len(report.pod) <= REPORT_TEXT_CHARACTERS
    assert report.answer is None or len(report.answer.reason or "") <= REPORT_TEXT_CHARACTERS


def test_a_report_of_16_mib_is_unreadable_without_being_parsed() -> None:
    with pytest.raises(Unreadable, match="more than 16384"):
        parsed(pod="x" * 16 * 1024 * 1024)
