"""Workers that the operator takes for ones it cannot ask, on real pods: the broker tells who is idle."""

from collections import Counter

from tests.e2e.operator import Operator
from tests.e2e.team import Body, Team

FOUR: Body = {"minReplicas": 4, "maxReplicas": 4, "readyPerReplica": 1}
LATE: Body = {"protocol": "Plain", "acksLate": True}


def four_of_which_one_is_busy(team: Team, worker: Body, *, seconds: float) -> Counter[str]:
    """Have four workers, one with a task that takes a while; its id."""
    team.apply(worker=worker, **FOUR)
    team.until_ready()
    team.until(lambda: ((team.deployment() or {}).get("status") or {}).get("readyReplicas") == 4, "four workers run")
    long = Counter(team.publish(1, seconds=seconds))
    team.until(lambda: team.receipts("started") == long, "the long task runs")
    return long


def test_idle_workers_go_and_the_busy_one_finishes(team: Team, operator: Operator) -> None:
    before = operator.sample("taskqueue_scale_in_removed_pods_total", state="idle")
    long = four_of_which_one_is_busy(team, LATE, seconds=60)
    team.patch({"scaling": {"minReplicas": 0}})
    team.until_replicas(lambda replicas: replicas == 1, "all but one have gone")
    assert not team.receipts("done"), "the long task still runs"
    team.until_asleep()
    assert team.receipts("done") == team.receipts("started") == long
    team.until(
        lambda: operator.sample("taskqueue_scale_in_removed_pods_total", state="idle") >= before + 4, "they are counted"
    )


def test_where_nobody_is_known_to_be_idle_they_go_one_by_one_and_finish(team: Team) -> None:
    long = four_of_which_one_is_busy(team, {"protocol": "Plain"}, seconds=60)
    team.until(lambda: team.condition("ScalingActive").get("reason") == "IdlenessUnknown", "the risk is told")
    team.patch({"scaling": {"minReplicas": 0}})
    team.until_replicas(lambda replicas: replicas == 3, "one has gone")
    team.until_asleep()
    assert team.receipts("done") == team.receipts("started") == long
