"""Invariant 7 on real parts: any step can be the last before a kill -9."""

from collections import Counter

import pytest

from tests.e2e.operator import Operator
from tests.e2e.team import Team

pytestmark = pytest.mark.fault


def test_a_kill_while_the_parts_are_made_and_while_workers_are_added_changes_nothing(
    team: Team, operator: Operator
) -> None:
    team.apply(worker={"concurrency": 2})
    operator.kill()
    team.until_ready()
    tasks = Counter(team.publish(200, seconds=0.5))
    team.until_replicas(lambda replicas: replicas > 0, "the first workers are asked for")
    operator.kill()
    team.until_asleep()
    assert team.receipts("done") == tasks
    assert team.receipts("started") == tasks


def test_a_kill_in_the_middle_of_a_deletion_does_not_stop_it(team: Team, operator: Operator) -> None:
    team.apply(deletion="DeleteIfEmpty", mode="Paused", pausedReplicas=0)
    team.until_ready()
    team.publish(1, seconds=0)
    team.delete()
    team.until(lambda: team.condition("Ready").get("reason") == "NotEmpty", "the deletion is under way")
    operator.kill()
    team.patch({"scaling": {"mode": "Auto", "pausedReplicas": None}})
    team.until_gone()
    assert not team.queues()
    assert not team.broker.exchanges(team.namespace)
