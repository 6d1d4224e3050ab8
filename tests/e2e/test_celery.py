"""Celery as it is, on real pods: prefork workers on a queue that Celery declares, and on one of the operator's."""

import json
from collections import Counter

import pytest

from tests.e2e.application import Application, celery
from tests.e2e.operator import Operator
from tests.e2e.team import Body, Team

QUEUE = "celery"
OWN = "workers"
"""The Secret of workers that do not share the operator's user on the broker."""


@pytest.fixture
def application(request: pytest.FixtureRequest) -> Application:
    found: Application = request.param
    return found


def send(team: Team, *seconds: float) -> list[str]:
    """Have Celery itself publish tasks of these lengths, from within a pod; their ids."""
    code = f"from audited import audited; print(*[audited.delay(each).id for each in {[*seconds]}])"
    container = {
        "name": "publisher",
        "image": team.image,
        "command": ["python", "-c", code],
        "env": [*team.application.env],
        "volumeMounts": [{"name": "tasks", "mountPath": "/app/audited.py", "subPath": "audited.py"}],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    spec = {
        "restartPolicy": "Never",
        "containers": [container],
        "volumes": [{"name": "tasks", "configMap": {"name": "tasks"}}],
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    }
    team.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "publisher"}, "spec": spec})
    team.kubectl("wait", "pod/publisher", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=120s")
    ids = team.kubectl("logs", "publisher").split()
    team.kubectl("delete", "pod", "publisher", "--wait=true")
    return ids


def consuming(team: Team) -> int:
    """How many pods have an acknowledging consumer of the queue."""
    return team.broker.consumers(team.namespace, QUEUE)


@pytest.mark.parametrize("application", [celery(QUEUE, declared=False)], indirect=True, ids=["external"])
def test_celery_scales_out_its_idle_workers_go_and_the_busy_one_finishes(team: Team, operator: Operator) -> None:
    before = operator.sample("taskqueue_scale_in_removed_pods_total", state="idle")
    team.apply(queue={"name": QUEUE, "external": True}, readyPerReplica=1)
    team.until(lambda: team.condition("Ready").get("status") == "False", "there is no queue before somebody publishes")
    long, *short = send(team, 90, 5, 5, 5, 5, 5, 5)
    tasks = Counter([long, *short])
    team.until_replicas(lambda replicas: replicas == 4, "there are workers for all")
    team.until(lambda: team.receipts("done") == Counter(short), "all tasks but the long one are done")
    team.until_replicas(lambda replicas: replicas == 1, "all idle workers have gone")
    assert team.receipts("done") == Counter(short), "the long task still runs"
    team.until_asleep()
    assert team.receipts("done") == team.receipts("started") == tasks
    team.until(
        lambda: operator.sample("taskqueue_scale_in_removed_pods_total", state="idle") >= before + 4, "they are counted"
    )


@pytest.mark.parametrize(
    "application", [celery(QUEUE, declared=True, credentials=OWN)], indirect=True, ids=["declared"]
)
def test_celery_with_a_user_of_its_own_is_not_touched_before_the_operators_may_see_it(team: Team) -> None:
    team.use_credentials(f"{team.namespace}-workers", "own", secret=OWN)
    team.apply(queue={"name": QUEUE}, minReplicas=2, maxReplicas=2)
    team.until_ready()
    team.until(lambda: consuming(team) == 2, "two workers consume")
    (task,) = send(team, 1)
    team.until(lambda: team.receipts("done") == Counter([task]), "it is done")
    team.patch({"scaling": {"minReplicas": 0}})
    team.until(lambda: "monitoring" in complaint(team), "what the operator's user lacks is said")
    assert "2 workers are not removed" in complaint(team)
    team.broker.add_user(team.namespace, "first", team.namespace, tags="policymaker,monitoring")
    team.until_asleep()
    assert team.receipts("done") == team.receipts("started") == Counter([task])


@pytest.mark.parametrize("application", [celery(QUEUE, declared=True, credentials=OWN)], indirect=True, ids=["rotated"])
def test_new_credentials_of_celerys_take_a_rollout_restart_and_no_more(team: Team) -> None:
    old, new = f"{team.namespace}-old", f"{team.namespace}-new"
    team.use_credentials(old, "own", secret=OWN)
    team.apply(queue={"name": QUEUE}, minReplicas=1, maxReplicas=1)
    team.until(lambda: consuming(team) == 1, "a worker consumes")
    team.use_credentials(new, "own", secret=OWN)
    team.kubectl("rollout", "restart", "deployment/work")
    team.kubectl("rollout", "status", "deployment/work", "--timeout=120s")
    team.broker.delete_user(old)
    (task,) = send(team, 1)
    team.until(lambda: team.receipts("done") == Counter([task]), "it is done")


def complaint(team: Team) -> str:
    condition: Body = team.condition("ScalingActive")
    return json.dumps(condition) if condition.get("reason") == "IdlenessUnknown" else ""
