"""Commands that are accepted and refused, and the form of a report."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskqueue_drain.bounds import COMMAND_BYTES
from taskqueue_drain.protocol import (
    Answer,
    Command,
    Drain,
    Figures,
    Identity,
    Result,
    State,
    Verb,
    build_report,
    current_state,
    parse_command,
)
from tests.approved import assert_approved
from tests.hostile_json import hostile_json

ME = "5f2b8f0f6c0e4b6f9a3f6d1f4a7c9e21"
REFUSALS = {
    "version": "worker.refused.version",
    "command": "worker.refused.command",
    "installation": "worker.refused.installation",
    "epoch": "worker.refused.epoch",
    "lease_seconds": "worker.refused.lease_seconds",
}
DRAIN: dict[str, Any] = {
    "version": 1,
    "id": "b1f0c0de",
    "command": "drain",
    "incarnation": ME,
    "installation": "default",
    "epoch": 1795000000,
    "seq": 4,
    "lease_seconds": 60,
}


def parsed(message: object) -> Command | Answer | None:
    return parse_command(json.dumps(message).encode(), ME)


def test_a_drain_is_accepted() -> None:
    expected = Command("b1f0c0de", Verb.DRAIN, Drain("default", 1795000000, 4), 60)
    assert parsed(DRAIN) == expected
    assert parsed(DRAIN | {"unheard_of": {"x": []}}) == expected, "unknown fields are ignored"


@pytest.mark.parametrize("verb", ["undrain", "report"])
def test_only_a_drain_needs_lease_seconds(verb: str) -> None:
    message = {field: value for field, value in DRAIN.items() if field != "lease_seconds"} | {"command": verb}
    assert parsed(message) == Command("b1f0c0de", Verb(verb), Drain("default", 1795000000, 4), 0)


@pytest.mark.parametrize("field", [field for field in DRAIN if field != "id"])
def test_a_command_without_a_field_is_refused_with_its_name(field: str) -> None:
    message = {name: value for name, value in DRAIN.items() if name != field}
    assert parsed(message) == Answer("b1f0c0de", Result.REFUSED, f"{field} is missing")


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"version": 2}, "version", "2"),
        ({"version": 2, "incarnation": "another"}, "version", "2"),
        ({"version": True}, "version", "True"),
        ({"command": "stop"}, "command", "'stop'"),
        ({"installation": ""}, "installation", "''"),
        ({"epoch": -1}, "epoch", "-1"),
        ({"epoch": 2**63}, "epoch", "9223372036854775808"),
        ({"installation": "\ud800"}, "installation", "ud800"),
        ({"seq": 4.0}, "seq", "4.0"),
        ({"lease_seconds": 0}, "lease_seconds", "0"),
        ({"lease_seconds": 120.5}, "lease_seconds", "120.5"),
        ({"lease_seconds": None}, "lease_seconds", "None"),
    ],
)
def test_a_field_that_is_not_valid_is_refused_with_its_name_and_value(
    changes: dict[str, object], field: str, value: str
) -> None:
    match parsed(DRAIN | changes):
        case Answer("b1f0c0de", Result.REFUSED, str(reason)):
            assert reason.startswith(f"{field} ")
            assert value in reason
        case other:
            pytest.fail(f"not refused: {other}")


@pytest.mark.slow
def test_reasons_of_refusals_are_approved() -> None:
    for field, value in {"version": 2, "command": "stop", "installation": "", "epoch": -1, "lease_seconds": 0}.items():
        match parsed(DRAIN | {field: value}):
            case Answer(reason=str(reason)):
                assert_approved(REFUSALS[field], reason)
            case other:
                pytest.fail(f"not refused: {other}")


def test_a_long_value_is_shortened_in_the_reason() -> None:
    match parsed(DRAIN | {"command": "x" * 5000}):
        case Answer(result=Result.REFUSED, reason=str(reason)):
            assert "x" * 39 in reason
            assert len(reason) < 100
        case other:
            pytest.fail(f"not refused: {other}")


def test_a_command_for_another_incarnation_is_ignored() -> None:
    assert parsed(DRAIN | {"incarnation": "another", "command": "stop"}) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b"7",
        b"[]",
        b"null",
        b"{}",
        b'{"id": 7}',
        b'{"id": ""}',
        b'{"id": "a", "version": Infinity}',
        b'{"id": "\\ud800"}',
        b'{"id": ' + b"[" * 8000,
    ],
)
def test_a_message_that_is_not_json_or_has_no_id_is_ignored(body: bytes) -> None:
    assert parse_command(body, ME) is None


def test_a_message_larger_than_any_command_is_ignored_without_being_parsed() -> None:
    assert parsed(DRAIN | {"unknown": "x" * COMMAND_BYTES}) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@pytest.mark.slow
@given(changes=st.dictionaries(st.sampled_from(list(DRAIN)), JSON))
def test_every_message_is_accepted_refused_or_ignored(changes: dict[str, object]) -> None:
    message = DRAIN | changes
    match parsed(message):
        case Command() as command:
            assert (command.id, command.verb) == (message["id"], message["command"])
            assert 0 <= command.lease_seconds <= 120
        case Answer() as answer:
            assert answer.id == message["id"]
            assert answer.reason
        case None:
            assert not isinstance(message["id"], str) or not message["id"] or message["incarnation"] != ME


FIGURES = Figures(1, 0, 0, 42.5, 41, 1, 812.4)


def test_a_report_is_the_example_of_the_document() -> None:
    identity = Identity("media/thumbnails", "8c0c1a52", ME, 300)
    drain = Drain("default", 1795000000, 4)
    report = build_report(identity, 17, State.DRAINING, FIGURES, drain, Answer("b1f0c0de"))
    assert json.loads(report) == {
        "version": 1,
        "taskqueue": "media/thumbnails",
        "pod": "8c0c1a52",
        "incarnation": ME,
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
        "dead_letters_blocked": 0,
        "unavailable_dependencies": [],
    }
    other = json.loads(build_report(identity, 18, State.CONSUMING, FIGURES, None, None))
    assert (other["drain"], other["answer"]) == (None, None)


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({}, State.STARTING),
        ({"consuming": True}, State.CONSUMING),
        ({"closed": True, "quiet": True}, State.DRAINED),
        ({"closed": True, "quiet": True, "busy": True}, State.DRAINING),
        ({"closed": True}, State.DRAINING),
        ({"closed": True, "consuming": True}, State.DRAINING),
        ({"leaving": True, "closed": True, "quiet": True}, State.LEAVING),
    ],
)
def test_only_a_quiet_worker_without_messages_is_drained(conditions: dict[str, bool], expected: State) -> None:
    none = dict.fromkeys(("leaving", "closed", "quiet", "busy", "consuming"), False)
    assert current_state(**(none | conditions)) == expected


@settings(max_examples=100)
@given(hostile_json(DRAIN))
def test_any_message_is_a_command_a_refusal_or_ignored(message: bytes) -> None:
    parsed = parse_command(message, ME)
    if isinstance(parsed, Answer):
        assert parsed.result is Result.REFUSED
        assert len(parsed.id) <= 256
        assert len(parsed.reason or "") < 200
    elif parsed is not None:
        assert parsed.lease_seconds <= 120


@pytest.mark.parametrize("depth", [100, 999, 1000, 1010, 7000])
def test_a_deeply_nested_value_is_refused_or_ignored(depth: int) -> None:
    message = json.dumps(DRAIN).encode().replace(b'"epoch": 1795000000', b'"epoch": ' + b"[" * depth + b"]" * depth)
    assert not isinstance(parse_command(message, ME), Command)
