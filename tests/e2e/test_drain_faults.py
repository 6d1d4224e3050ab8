"""What breaks while workers are on their way out, on real pods: no task is cut but that of a worker which is killed."""

import json

import pytest

from tests.cluster.lane import Cluster
from tests.cluster.loan import BROKER
from tests.cluster.progress import until
from tests.e2e.killing import kill
from tests.e2e.operator import Operator
from tests.e2e.team import Body, Team

NODE_SHARE = 0.4


@pytest.mark.fault
def test_a_worker_that_is_killed_while_it_drains_costs_no_task_but_its_own(team: Team, real_cluster: Cluster) -> None:
    tasks = team.busy(3, seconds=60)  # the killer is a pod, which has to start
    team.patch({"scaling": {"minReplicas": 0, "maxReplicas": 1}})
    team.until(lambda: draining(team), "workers drain")
    victim = draining(team)[0]
    kill(real_cluster, victim, "taskqueue_worker")
    team.until(lambda: team.receipts("done") == tasks, "all tasks are done")
    team.until_asleep()
    (again,) = (team.receipts("started") - tasks).elements()
    # Who is started anew in the same pod may take the same task.
    assert team.cut() <= {(again, victim["metadata"]["name"])}


@pytest.mark.fault
def test_a_broker_that_restarts_while_workers_drain_cuts_no_task(team: Team, real_cluster: Cluster) -> None:
    """What was not acknowledged is there again: the broker cannot know that it was done."""
    tasks = team.busy(2, seconds=45)
    team.patch({"scaling": {"minReplicas": 0, "mode": "Paused", "pausedReplicas": 0}})
    team.until(lambda: len(draining(team)) == 2, "both workers drain")
    restart_broker(real_cluster, team)
    team.until_asleep()
    assert team.receipts("done") == tasks
    assert team.receipts("started") == tasks
    assert not team.cut()
    assert not team.drain_mark()
    assert team.queues()["work"]["messages"] == 2


def test_on_a_full_cluster_those_who_have_no_place_go_first(
    team: Team, real_cluster: Cluster, operator: Operator
) -> None:
    gone_before = operator.sample("taskqueue_scale_in_removed_pods_total", state="no_container")
    sizes = [cores(node["status"]["allocatable"]["cpu"]) for node in nodes(real_cluster)]
    large = {"resources": {"requests": {"cpu": f"{int(1000 * NODE_SHARE * max(sizes))}m"}}}
    most = int(1 / NODE_SHARE) * len(sizes)
    team.apply(worker=large, minReplicas=most + 2, maxReplicas=most + 2, readyPerReplica=1)
    team.until(lambda: len(team.pods()) == most + 2, "more workers are asked for than there are places")
    team.until(lambda: len(running(team)) == team.consuming() == most + 2 - len(homeless(team)), "the others run")
    places = running(team)
    tasks = team.publish(len(places), seconds=45)
    team.until(lambda: len(team.receipts("started")) == len(places), "all who have a place work")

    team.patch({"scaling": {"minReplicas": 0}})
    team.until(lambda: not homeless(team), "who has no place has gone")
    assert running(team) == places
    assert not team.receipts("done")
    team.until_asleep()
    assert team.receipts("done") == team.receipts("started") == dict.fromkeys(tasks, 1)
    gone = operator.sample("taskqueue_scale_in_removed_pods_total", state="no_container")
    assert gone >= gone_before + most + 2 - len(places)


def draining(team: Team) -> list[Body]:
    """List the workers that say that they were told to go, and still run a task."""
    return [pod for pod in team.pods() if '"event":"drained"' in team.kubectl("logs", pod["metadata"]["name"])]


def restart_broker(cluster: Cluster, team: Team) -> None:
    """Have RabbitMQ end in good order, and the kubelet start it again on the same data."""

    def restarts() -> int:
        pod = json.loads(cluster.kubectl("get", "pod", "rabbitmq-0", f"--namespace={BROKER}", "--output=json"))
        return int(pod["status"]["containerStatuses"][0]["restartCount"])

    before = restarts()
    cluster.kubectl("exec", "rabbitmq-0", f"--namespace={BROKER}", "--", "rabbitmqctl", "shutdown", check=False)
    until(lambda: restarts() > before, "the broker starts again", seconds=60, every=0.5)
    cluster.kubectl("wait", "pod/rabbitmq-0", f"--namespace={BROKER}", "--for=condition=Ready", "--timeout=120s")
    until(team.broker.answers, "the broker answers", seconds=60, every=0.5)


def nodes(cluster: Cluster) -> list[Body]:
    found: list[Body] = json.loads(cluster.kubectl("get", "nodes", "--output=json"))["items"]
    return found


def cores(quantity: str) -> float:
    """Read an amount of CPU as nodes tell it: whole cores, or thousandths."""
    return int(quantity.removesuffix("m")) / 1000 if quantity.endswith("m") else float(quantity)


def homeless(team: Team) -> list[str]:
    """Name the pods without a node."""
    return [pod["metadata"]["name"] for pod in team.pods() if not pod["spec"].get("nodeName")]


def running(team: Team) -> list[str]:
    """Name the pods with a node."""
    return sorted(pod["metadata"]["name"] for pod in team.pods() if pod["spec"].get("nodeName"))
