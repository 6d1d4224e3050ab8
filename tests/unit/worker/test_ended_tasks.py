"""Which deliveries are settled with the result of a run that has ended."""

from typing import Any

import pytest

from taskqueue_worker.bounds import UNSETTLED_MESSAGES, UNSETTLED_SECONDS
from taskqueue_worker.ended_tasks import EndedTasks
from tests.unit.worker.messages import delivery


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ended(clock: Clock) -> EndedTasks[str]:
    return EndedTasks(clock)


def test_a_result_settles_one_redelivery_of_its_message_and_no_more(ended: EndedTasks[str]) -> None:
    ended.remember(delivery(), "done")
    assert ended.take(delivery()) is None, "not redelivered: another message that looks alike"
    again = delivery(redelivered=True)
    assert ended.take(again) == "done"
    assert ended.take(again) is None


@pytest.mark.parametrize("other", [{"body": b"[]"}, {"type": "u"}, {"message_id": "x"}, {"message_id": None}])
def test_a_message_that_differs_runs(ended: EndedTasks[str], other: dict[str, Any]) -> None:
    ended.remember(delivery(), "done")
    assert ended.take(delivery(redelivered=True, **other)) is None


def test_a_message_without_id_is_not_remembered(ended: EndedTasks[str]) -> None:
    nameless = delivery(message_id=None, redelivered=True)
    ended.remember(nameless, "done")
    assert ended.take(nameless) is None


def test_results_are_bounded_in_number_and_age(ended: EndedTasks[str], clock: Clock) -> None:
    first, last = delivery(redelivered=True), delivery(message_id="last", redelivered=True)
    ended.remember(first, "done")
    for number in range(UNSETTLED_MESSAGES - 1):
        ended.remember(delivery(message_id=str(number)), "done")
    ended.remember(last, "done")
    assert ended.take(first) is None, "the oldest one was forgotten"
    clock.now += UNSETTLED_SECONDS
    assert ended.take(last) is None
