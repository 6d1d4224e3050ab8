"""Texts from outside are shortened before a message quotes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue_operator.rabbitmq import faults
from taskqueue_operator.resource.bounds import FAULT_CHARACTERS, MESSAGE_CHARACTERS
from taskqueue_operator.resource.faults import Fault, Reason, excerpt
from tests.unit.rabbitmq.fake_amqp import ENDPOINT


@given(st.text(max_size=3 * MESSAGE_CHARACTERS))
def test_an_excerpt_is_one_printable_line_within_the_bound(text: str) -> None:
    line = excerpt(text)
    assert len(line) <= MESSAGE_CHARACTERS
    assert line.isprintable()
    assert excerpt(line) == line


@pytest.mark.parametrize("length", [1, 40_000, 1_000_000])
def test_a_reason_of_a_broker_of_any_length_fits_into_the_status_and_keeps_its_way_out(length: int) -> None:
    fault = faults.vhost_refused(ENDPOINT, "x" * length)
    assert len(fault.message) < 2 * MESSAGE_CHARACTERS
    assert len(Fault(Reason.INTERNAL_ERROR, "x" * length).message) <= FAULT_CHARACTERS


def test_a_short_text_is_quoted_unchanged() -> None:
    assert excerpt("PRECONDITION_FAILED - inequivalent arg 'x-queue-type'") == (
        "PRECONDITION_FAILED - inequivalent arg 'x-queue-type'"
    )
