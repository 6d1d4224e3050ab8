"""Invariant 1 on real pods: who runs a task is not removed, whatever happens to the number of workers."""

from collections import Counter

import pytest

from tests.e2e.operator import Operator
from tests.e2e.team import Body, Team

ONE_EACH: Body = {"readyPerReplica": 1, "maxReplicas": 4}


def four_of_which_one_is_busy(team: Team, *, seconds: float) -> Counter[str]:
    """Have four workers, one with a task that takes a while; its id."""
    team.apply(minReplicas=4, **ONE_EACH)
    team.until_ready()
    team.until(lambda: team.consuming() == 4, "four workers consume")
    long = Counter(team.publish(1, seconds=seconds))
    team.until(lambda: team.receipts("started") == long, "the long task runs")
    return long


def test_idle_workers_go_and_the_busy_one_finishes(team: Team, operator: Operator) -> None:
    busy_before = operator.sample("taskqueue_scale_in_removed_pods_total", state="busy")
    long = four_of_which_one_is_busy(team, seconds=40)
    team.patch({"scaling": {"minReplicas": 0}})
    team.until_replicas(lambda replicas: replicas == 1, "all but one have gone")
    assert not team.receipts("done"), "the long task still runs"
    team.until_asleep()
    assert team.receipts("done") == long
    assert team.receipts("started") == long
    assert operator.sample("taskqueue_scale_in_removed_pods_total", state="busy") == busy_before


def test_a_lower_maximum_cuts_nobody(team: Team) -> None:
    tasks = team.busy(4, seconds=30)
    team.patch({"scaling": {"minReplicas": 0, "maxReplicas": 1}})
    team.until_asleep()
    assert team.receipts("done") == tasks
    assert team.receipts("started") == tasks


@pytest.mark.fault
def test_an_operator_that_is_killed_while_workers_drain_harms_nobody(team: Team, operator: Operator) -> None:
    tasks = team.busy(4, seconds=45)
    team.patch({"scaling": {"minReplicas": 0, "maxReplicas": 1}})
    team.until(team.drain_mark, "workers drain")
    operator.kill()
    tasks += Counter(team.publish(3, seconds=1))
    team.until(lambda: team.receipts("done") == tasks, "all tasks are done")
    team.until_asleep()
    assert team.receipts("started") == tasks


def test_a_worker_whose_shell_swallows_sigterm_takes_nothing_more_once_its_pod_goes(team: Team) -> None:
    # The shell is the container's first process: it alone gets the signal, and the kernel drops that.
    deaf: Body = {"command": ["sh", "-c", "python -m taskqueue_worker; exit $?"], "taskTimeoutSeconds": 5}
    team.apply(worker=deaf, minReplicas=1, maxReplicas=1)
    team.until_ready()
    team.until(lambda: team.consuming() == 1, "a worker consumes")
    (pod,) = team.pods()
    tasks = Counter(team.publish(40, seconds=1.5))
    team.until(lambda: team.receipts("started"), "the first task runs")
    team.kubectl("delete", "pod", pod["metadata"]["name"], "--wait=false")
    team.until(lambda: team.receipts("done") == tasks, "all tasks are done")
    assert team.receipts("started") == tasks, "one was cut when the pod was killed, 35 s after it was deleted"
