from collections.abc import Mapping

import pytest

from taskqueue_drain.consume_settings import ConsumeSettings, consumer_timeout_ms
from taskqueue_drain.environment import SettingsError

LEAST = {"TASKQUEUE_QUEUES": "a, b,a,", "RABBITMQ_URL": "amqp://localhost"}
LINEAR = {"TASKQUEUE_RETRY_TYPE": "Linear", "TASKQUEUE_MAX_ATTEMPTS": "3"}


def settings(**variables: str) -> ConsumeSettings:
    return ConsumeSettings.from_environment(LEAST | variables)


def test_defaults_are_those_of_the_contract() -> None:
    read = settings(TASKQUEUE_CONCURRENCY="4")
    assert (read.queues, read.concurrency, read.prefetch) == (("a", "b"), 4, 4)
    assert read.consumer_timeout_ms == (870 * 3 + 60) * 1000


@pytest.mark.parametrize(("concurrency", "most"), [("4", 50), ("60", 60)])
def test_with_auto_the_prefetch_is_at_least_the_concurrency_and_the_consumer_timeout_is_that_of_the_largest(
    concurrency: str, most: int
) -> None:
    read = settings(TASKQUEUE_CONCURRENCY=concurrency, TASKQUEUE_PREFETCH="Auto")
    assert (read.prefetch, read.most_prefetch) == (int(concurrency), most)
    assert read.consumer_timeout_ms == consumer_timeout_ms(870, prefetch=2 * most, concurrency=int(concurrency))


@pytest.mark.parametrize(("messages", "concurrency", "rounds"), [(1, 1, 2), (4, 2, 3), (5, 2, 4), (1, 4, 2)])
def test_a_message_may_wait_for_all_others_and_for_tasks_from_before_an_undrain(
    messages: int, concurrency: int, rounds: int
) -> None:
    assert consumer_timeout_ms(100, prefetch=messages, concurrency=concurrency) == (100 * rounds + 60) * 1000


@pytest.mark.parametrize("variable", ["TASKQUEUE_CONCURRENCY", "TASKQUEUE_PREFETCH", "TASKQUEUE_TASK_TIMEOUT_SECONDS"])
@pytest.mark.parametrize("value", ["0", "-1", "x", "9" * 5000])
def test_a_wrong_number_is_named(variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match=variable):
        settings(**{variable: value})


def test_queues_are_needed() -> None:
    with pytest.raises(SettingsError, match="TASKQUEUE_QUEUES"):
        settings(TASKQUEUE_QUEUES=" , ")


@pytest.mark.parametrize(
    ("headers", "redelivered", "again"),
    [
        ({}, False, True),
        ({"x-delivery-count": 1, "x-acquired-count": 1}, True, True),
        ({"x-delivery-count": 2}, True, False),
        ({"x-acquired-count": 7}, True, True),
        ({}, True, False),
        ({"x-attempt": 3}, False, False),
        ({"x-attempt": "3", "x-delivery-count": True}, True, True),
        ({"x-attempt": -(2**70)}, False, True),
    ],
    ids=["first", "second", "last", "given back", "uncounted", "copy", "hostile texts", "hostile number"],
)
def test_a_failed_task_is_tried_again_while_the_broker_counts_its_attempts(
    headers: Mapping[str, object],
    redelivered: bool,  # noqa: FBT001 - likewise
    again: bool,  # noqa: FBT001 - rows of a table
) -> None:
    assert settings(**LINEAR).is_tried_again(headers, redelivered=redelivered) is again
    assert not settings().is_tried_again(headers, redelivered=redelivered)
