"""Mistakes that only a kubelet notices: the condition says which, and no more workers are added in vain."""

from collections import Counter

from tests.e2e.team import Body, Team

WRONG_IMAGE = "localhost:1/acme/thumbnials:1.4"
UP_TO_20: Body = {"minReplicas": 1, "maxReplicas": 20, "readyPerReplica": 1}


def complaint(team: Team, reason: str = "WorkersFailing") -> str:
    """Wait until the workers are said not to start, and give the message."""
    team.until(lambda: team.condition("Ready").get("reason") == reason, "the workers are said not to start")
    assert team.condition("WorkersAvailable")["status"] == "False"
    return str(team.condition("Ready")["message"])


def stopped(team: Team, reason: str) -> str:
    """Wait until scaling out is said to have stopped, and give the message."""
    team.until(lambda: team.condition("ScalingLimited").get("reason") == reason, "scaling out is said to have stopped")
    assert team.condition("ScalingLimited")["status"] == "True"
    return str(team.condition("ScalingLimited")["message"])


def replicas(team: Team) -> int:
    return int((team.deployment() or {})["spec"]["replicas"])


def test_an_image_that_cannot_be_pulled_is_named_and_not_multiplied_until_it_is_corrected(team: Team) -> None:
    team.apply(worker={"image": WRONG_IMAGE}, **UP_TO_20)
    message = complaint(team)
    assert message.startswith(f"No worker is ready: ImagePullBackOff: {WRONG_IMAGE}. Correct spec.worker.image")
    tasks = Counter(team.publish(20, seconds=0.1))
    assert stopped(team, "WorkersFailing") == (
        f"stopped at 3: no worker of this version has started (ImagePullBackOff: {WRONG_IMAGE})"
    )
    assert replicas(team) == 3
    team.patch({"worker": {"image": team.image}})
    team.until_replicas(lambda replicas: replicas > 3, "more workers are asked for")
    team.until(lambda: team.receipts("done") == tasks, "all tasks are done")
    team.until_ready()


def test_an_invalid_image_name_is_named(team: Team) -> None:
    team.apply(worker={"image": "Acme/App:1.4"}, minReplicas=1)
    assert "InvalidImageName: Acme/App:1.4. Correct spec.worker.image" in complaint(team)


def test_a_worker_that_ends_again_and_again_shows_where_its_log_is_and_is_not_multiplied(team: Team) -> None:
    team.apply(worker={"env": [{"name": "TASKQUEUE_MODULES", "value": "nowhere"}]}, **UP_TO_20)
    assert f"kubectl -n {team.namespace} logs -l taskqueue.dev/name=work -c worker --tail=50" in complaint(team)
    team.publish(20, seconds=0.1)
    assert stopped(team, "WorkersFailing").startswith(
        "stopped at 3: no worker of this version has started (CrashLoopBackOff: exit code "
    )
    assert replicas(team) == 3


def test_a_worker_that_lacks_what_its_spec_names_is_not_multiplied(team: Team) -> None:
    key: Body = {"secretKeyRef": {"name": "keys", "key": "api"}}
    team.apply(worker={"env": [{"name": "KEY", "valueFrom": key}]}, **UP_TO_20)
    what = 'CreateContainerConfigError: secret "keys" not found'
    assert complaint(team) == f"No worker is ready: {what}. Correct spec.worker, or create what is missing."
    team.publish(20, seconds=0.1)
    assert stopped(team, "WorkersFailing") == f"stopped at 3: no worker of this version has started ({what})"
    assert replicas(team) == 3


def test_an_exceeded_quota_is_told_and_not_pushed_further(team: Team) -> None:
    team.kubectl("create", "quota", "small", "--hard=pods=2")
    team.apply(**UP_TO_20)
    team.until_ready()
    team.publish(6, seconds=10)
    team.until(lambda: refusal(team), "the quota is exceeded")
    asked = replicas(team)
    assert 2 < asked <= 6
    team.publish(20, seconds=10)
    assert stopped(team, "QuotaExceeded") == (
        f"stopped at {asked}: ResourceQuota small is exceeded (requested: pods=1, limited: pods=2)"
    )
    assert replicas(team) == asked


def test_workers_that_no_node_takes_are_told_and_not_pushed_further_until_one_does(team: Team) -> None:
    template: Body = {"spec": {"nodeSelector": {"taskqueue.dev/moon": "dark"}}}
    team.apply(worker={"podTemplate": template}, **UP_TO_20)
    assert complaint(team, "Unschedulable").startswith("No worker is ready: no node takes more workers (0/")
    team.publish(20, seconds=0.1)
    message = stopped(team, "Unschedulable")
    assert message.startswith("stopped at 1: no node takes more workers (0/")
    assert "didn't match Pod's node affinity/selector" in message
    assert replicas(team) == 1
    team.patch({"worker": {"podTemplate": None}})
    team.until_replicas(lambda replicas: replicas > 1, "more workers are asked for")


def refusal(team: Team) -> bool:
    conditions = (team.deployment() or {})["status"].get("conditions", [])
    return any(each["type"] == "ReplicaFailure" for each in conditions)
