"""Invariants 4 and 8 on real parts: what each deletionPolicy leaves, and that it ends."""

from collections import Counter

import pytest

from taskqueue_worker import PublishFailedError
from tests.e2e.team import Team


def test_retain_leaves_queue_and_messages_and_a_new_taskqueue_takes_them_up(team: Team) -> None:
    team.apply(deletion="Retain", mode="Paused", pausedReplicas=0)
    team.until_ready()
    tasks = Counter(team.publish(5, seconds=0))
    team.delete()
    team.until_gone()
    team.until(lambda: team.deployment() is None, "the Deployment is gone")
    team.until(lambda: team.queues()["work"]["messages"] == 5, "the broker's figures are in")
    assert "work" in team.broker.exchanges(team.namespace)

    team.apply()
    team.until(lambda: team.receipts("done") == tasks, "the new workers do what was left")


def test_delete_if_empty_refuses_publishers_and_waits_until_the_workers_have_emptied_the_queue(team: Team) -> None:
    team.apply(deletion="DeleteIfEmpty", mode="Paused", pausedReplicas=0)
    team.until_ready()
    tasks = Counter(team.publish(5, seconds=0))
    team.delete()
    team.until(lambda: team.condition("Ready").get("reason") == "NotEmpty", "it says what it waits for")
    with pytest.raises(PublishFailedError):
        team.publish(1, seconds=0)
    assert team.queues()["work"]

    team.patch({"scaling": {"mode": "Auto", "pausedReplicas": None}})
    team.until_gone()
    assert team.receipts("done") == tasks
    assert not team.queues()
    assert not team.broker.exchanges(team.namespace)


def test_delete_lets_workers_finish_and_takes_queue_and_messages(team: Team) -> None:
    team.apply(deletion="Delete", maxReplicas=1)
    team.until_ready()
    team.publish(5, seconds=10)
    team.until(lambda: team.receipts("started"), "a task runs")
    team.delete()
    team.until_gone()
    assert not team.queues()
    assert not team.broker.exchanges(team.namespace)
    assert team.receipts("done") == team.receipts("started")
    assert len(team.receipts("done")) < 5
