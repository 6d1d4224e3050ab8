"""What is taken from a termination message, whatever it holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue_operator.workers.refused_declaration import RefusedDeclaration

ANSWERS = st.from_regex(r"PRECONDITION_FAILED - inequivalent arg '[a-z_X-]{0,60}' for queue '.{0,300}'", fullmatch=True)


@given(st.text() | ANSWERS | st.builds("{}{}{}".format, st.text(), ANSWERS, st.text()))
def test_any_message_names_an_argument_and_a_queue_within_bounds_or_nothing(message: str) -> None:
    found = RefusedDeclaration.parse({"exitCode": 1, "message": message})
    if found is not None:
        assert found.argument in {"durable", "auto_delete", "exclusive"} or found.argument.startswith("x-")
        assert len(found.argument) <= 42
        assert 1 <= len(found.queue) <= 255


@pytest.mark.parametrize(
    ("argument", "way_out"),
    [
        ("x-dead-letter-exchange", "Set queue.settingsBy: Policy"),
        ("x-overflow", "Set queue.settingsBy: Policy"),
        ("x-delivery-limit", "Set queue.settingsBy: Policy"),
        ("x-queue-type", "Set the default queue type of the vhost"),
        ("x-max-priority", "Declare it with passive=True"),
        ("durable", "Declare it with passive=True"),
    ],
)
def test_the_first_way_out_is_one_with_which_the_client_need_not_change(argument: str, way_out: str) -> None:
    assert f". {way_out}" in RefusedDeclaration(argument, "jobs").explanation


@pytest.mark.parametrize("message", [None, 7, ["x"], {}])
def test_a_message_that_is_no_text_names_nothing(message: object) -> None:
    assert RefusedDeclaration.parse({"message": message}) is None
    assert RefusedDeclaration.parse({}) is None
