"""What a command may look like, and what a report does."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue_worker.protocol import (
    Answer,
    Command,
    Drain,
    Facts,
    Identity,
    Name,
    Result,
    State,
    read,
    report,
    state,
)

ME = "5f2b8f0f6c0e4b6f9a3f6d1f4a7c9e21"
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


def understood(message: object) -> Command | Answer | None:
    return read(json.dumps(message).encode(), ME)


def test_a_drain_is_read() -> None:
    expected = Command("b1f0c0de", Name.DRAIN, Drain("default", 1795000000, 4), 60)
    assert understood(DRAIN) == expected
    assert understood(DRAIN | {"unheard_of": {"x": []}}) == expected, "fields that are not known are ignored"


@pytest.mark.parametrize("name", ["undrain", "report"])
def test_only_a_drain_needs_a_lease(name: str) -> None:
    message = {field: value for field, value in DRAIN.items() if field != "lease_seconds"} | {"command": name}
    assert understood(message) == Command("b1f0c0de", Name(name), Drain("default", 1795000000, 4), 0)


@pytest.mark.parametrize("field", [field for field in DRAIN if field != "id"])
def test_a_field_that_is_missing_is_named(field: str) -> None:
    message = {name: value for name, value in DRAIN.items() if name != field}
    assert understood(message) == Answer("b1f0c0de", Result.REFUSED, f"{field} is missing")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"version": 2}, "version 2 is not known: this worker speaks 1"),
        ({"version": 2, "incarnation": "another"}, "version 2 is not known: this worker speaks 1"),
        ({"version": True}, "version is True: not a whole number from 0"),
        ({"command": "stop"}, "command 'stop' is not known"),
        ({"installation": ""}, "installation is '': not a text, or empty"),
        ({"epoch": -1}, "epoch is -1: not a whole number from 0"),
        ({"seq": 4.0}, "seq is 4.0: not a whole number from 0"),
        ({"lease_seconds": 0}, "lease_seconds is 0: not a number above 0, up to 120"),
        ({"lease_seconds": 120.5}, "lease_seconds is 120.5: not a number above 0, up to 120"),
        ({"lease_seconds": None}, "lease_seconds is None: not a number above 0, up to 120"),
        ({"command": "x" * 5000}, f"command '{'x' * 39} is not known"),
    ],
)
def test_what_is_wrong_is_refused_by_name(changes: dict[str, object], reason: str) -> None:
    assert understood(DRAIN | changes) == Answer("b1f0c0de", Result.REFUSED, reason)


def test_another_incarnation_is_none_of_our_business() -> None:
    assert understood(DRAIN | {"incarnation": "another", "command": "stop"}) is None


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"7", b"[]", b"null", b"{}", b'{"id": 7}', b'{"id": ""}'])
def test_what_has_no_id_is_dropped(body: bytes) -> None:
    assert read(body, ME) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(changes=st.dictionaries(st.sampled_from(list(DRAIN)), JSON))
def test_whatever_arrives_is_understood_refused_or_dropped(changes: dict[str, object]) -> None:
    message = DRAIN | changes
    match understood(message):
        case Command() as command:
            assert (command.id, command.name) == (message["id"], message["command"])
            assert 0 <= command.lease_seconds <= 120
        case Answer() as answer:
            assert answer.id == message["id"]
            assert answer.reason
        case None:
            assert not isinstance(message["id"], str) or not message["id"] or message["incarnation"] != ME


FACTS = Facts(State.DRAINING, 1, 0, 0, 42.5, 41, 1, 812.4, Drain("default", 1795000000, 4))


def test_a_report_is_as_the_document_shows_it() -> None:
    identity = Identity("media/thumbnails", "8c0c1a52", ME, 300)
    assert json.loads(report(identity, 17, FACTS, Answer("b1f0c0de"))) == {
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
    }
    assert json.loads(report(identity, 18, FACTS, None))["answer"] is None


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, State.STARTING),
        ({"consuming": True}, State.CONSUMING),
        ({"shut": True, "quiet": True}, State.DRAINED),
        ({"shut": True, "quiet": True, "busy": True}, State.DRAINING),
        ({"shut": True}, State.DRAINING),
        ({"shut": True, "consuming": True}, State.DRAINING),
        ({"leaving": True, "shut": True, "quiet": True}, State.LEAVING),
    ],
)
def test_only_who_is_certain_to_get_nothing_and_holds_nothing_is_drained(
    facts: dict[str, bool], expected: State
) -> None:
    assert state(**({"leaving": False, "shut": False, "quiet": False, "busy": False, "consuming": False} | facts)) == (
        expected
    )
