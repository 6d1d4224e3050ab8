"""Dead letters in the status: their number, and those that no queue takes."""

import pytest

from taskqueue_operator.control.status.blocked_dead_letters import BLOCKED_FOR
from taskqueue_operator.drain.worker import REPORT_TIMEOUT
from tests.approved import assert_approved
from tests.unit.control.control_harness import ControlHarness

pytestmark = pytest.mark.looptime


ONE = {"minReplicas": 1, "maxReplicas": 3}


async def test_dead_letters_that_no_queue_takes_are_a_condition_for_as_long_as_a_worker_reports_them(
    harness: ControlHarness,
) -> None:
    workers = harness.start_workers()
    await harness.apply(scaling=ONE)
    await harness.settle(20)
    (worker,) = workers.by_pod.values()
    worker.report_overrides, worker.reported = {"dead_letters_blocked": 2}, None
    await harness.settle(BLOCKED_FOR.total_seconds() - 1)
    assert ready(harness) == ("True", "Ready"), "the operator may declare the dead-letter queue again meanwhile"
    await harness.settle(2)
    assert ready(harness) == ("False", "DeadLettersBlocked")
    workers_available = harness.cluster.condition("WorkersAvailable")
    assert workers_available["status"] == "False"
    assert_approved("workers.dead_letters_blocked", workers_available["message"])
    await harness.restart()
    await harness.settle(60)
    assert [reason for reason, _ in harness.cluster.events].count("DeadLettersBlocked") == 1, "a restart ends nothing"
    worker.report_overrides, worker.reported = {"dead_letters_blocked": None}, None
    await harness.settle(2)
    assert ready(harness) == ("True", "Ready"), "a worker of an earlier version does not report the field"


async def test_a_worker_that_ends_ends_the_condition_of_its_dead_letters(harness: ControlHarness) -> None:
    workers = harness.start_workers()
    await harness.apply(scaling=ONE, queue={"name": "q", "external": True}, deadLetter={"exchange": "dlx"})
    harness.broker.depths["q"] = (0, 0)
    await harness.settle(20)
    (worker,) = workers.by_pod.values()
    worker.report_overrides, worker.reported = {"dead_letters_blocked": 1}, None
    await harness.settle(BLOCKED_FOR.total_seconds() + 2)
    message = harness.cluster.condition("WorkersAvailable")["message"]
    assert 'exchange "dlx" with routing key "q.dlq"' in message
    worker.silent = True
    await harness.settle(REPORT_TIMEOUT.total_seconds() + 1)
    assert harness.cluster.condition("WorkersAvailable")["status"] == "True"


@pytest.mark.slow
async def test_dead_letters_are_in_the_status_and_their_growth_is_one_event(harness: ControlHarness) -> None:
    await harness.apply()
    await harness.settle(60)
    assert harness.cluster.status()["deadLetters"] == 0
    for n in range(1, 41):
        harness.broker.depths["thumbnails.dlq"] = (n, 1)
        await harness.settle(6)
        if n == 2:
            assert harness.cluster.status()["deadLetters"] in {2, 3}, "the first ones are written at once"
    await harness.settle(40)
    assert harness.cluster.status()["deadLetters"] == 41
    growth = [message for reason, message in harness.cluster.events if reason == "DeadLettersGrowing"]
    assert len(growth) == 1
    assert "thumbnails.dlq" in growth[0]
    await harness.settle(900)
    harness.broker.depths["thumbnails.dlq"] = (50, 0)
    await harness.settle(10)
    assert [reason for reason, _ in harness.cluster.events].count("DeadLettersGrowing") == 2


def ready(harness: ControlHarness) -> tuple[str, str]:
    condition = harness.cluster.condition("Ready")
    return condition["status"], condition["reason"]
