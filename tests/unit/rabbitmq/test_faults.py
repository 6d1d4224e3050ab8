"""What is said of an error of the network: its innermost cause, in words of ours."""

from itertools import pairwise

import pytest

from taskqueue_operator.rabbitmq import faults


def chained(*errors: BaseException) -> BaseException:
    for outer, inner in pairwise(errors):
        outer.__context__ = inner
    return errors[0]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (chained(RuntimeError("amqp://user:secret@host"), ConnectionRefusedError()), "connection refused"),
        (chained(RuntimeError(), ValueError(), TimeoutError()), "no answer in time"),
        (RuntimeError("amqp://user:secret@host"), "connection lost"),
    ],
)
def test_the_innermost_cause_says_it(error: BaseException, words: str) -> None:
    assert faults.cause(error) == words


def test_errors_that_came_about_by_each_other_come_to_an_end() -> None:
    first, second = RuntimeError(), ConnectionResetError()
    first.__context__ = second
    second.__cause__ = first
    assert faults.cause(first) == "connection closed"
