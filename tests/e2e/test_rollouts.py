"""Everything else that sends SIGTERM, on real pods: who runs a task finishes it, and nobody is missed meanwhile."""

import json

from tests.e2e.team import NAME, Body, Team

DEADLINE_SECONDS = 5
"""How long a rollout may make no progress; by default it is ten minutes."""
WRONG_IMAGE = "localhost:1/acme/app:1.5"


def test_a_deletion_an_eviction_and_a_rollout_let_every_task_finish(team: Team) -> None:
    tasks = team.busy(3, seconds=75)
    deleted, evicted, _ = team.pods()
    team.kubectl("delete", "pod", deleted["metadata"]["name"], "--wait=false")
    team.evict(evicted)
    team.until(lambda: team.consuming() == 3, "two others have taken their places")
    before = digest(team)
    env = [{"name": "TASKQUEUE_MODULES", "value": "audited"}, {"name": "COLOUR", "value": "green"}]
    team.patch({"worker": {"env": env}})
    team.until(lambda: digest(team) != before, "there is a new template")
    team.until(lambda: rolled_out(team), "all are new, and never fewer than three")
    assert not team.receipts("done"), "the old ones still work"
    team.until(lambda: len(team.pods()) == 3, "the old ones have gone")
    assert team.receipts("done") == team.receipts("started") == tasks
    assert not team.cut()
    team.until(lambda: team.queues()["work"]["messages"] == 0, "the broker counts none any more")


def test_in_a_rollout_that_is_stuck_the_idle_go_and_the_busy_one_finishes(team: Team) -> None:
    team.apply(minReplicas=4, maxReplicas=4, readyPerReplica=1)
    team.until_ready()
    deadline: Body = {"spec": {"progressDeadlineSeconds": DEADLINE_SECONDS}}
    team.kubectl("patch", "deployment", NAME, f"--patch={json.dumps(deadline)}")
    team.until(lambda: team.consuming() == 4, "four workers consume")
    tasks = dict.fromkeys(team.publish(1, seconds=60), 1)
    team.until(lambda: team.receipts("started") == tasks, "a task runs")
    team.patch({"worker": {"image": WRONG_IMAGE}})
    team.until(lambda: progress(team) == "ProgressDeadlineExceeded", "the rollout is stuck")
    assert team.consuming() == 4, "nobody was given up for the new ones"
    team.patch({"scaling": {"minReplicas": 0}})
    team.until_replicas(lambda replicas: replicas < 4, "idle ones have gone")
    assert not team.receipts("done"), "the task still runs"
    team.until_asleep()
    assert team.receipts("done") == team.receipts("started") == tasks


def digest(team: Team) -> str:
    """Read which template the Deployment has."""
    template = (team.deployment() or {})["spec"]["template"]
    return str(template["metadata"]["annotations"]["taskqueue.dev/template-digest"])


def rolled_out(team: Team) -> bool:
    """Whether all workers are of the newest template; fails when fewer consume than are needed."""
    status = (team.deployment() or {})["status"]
    assert status.get("readyReplicas", 0) >= 3
    return bool(status.get("updatedReplicas", 0) == status["replicas"] == status["readyReplicas"] == 3)


def progress(team: Team) -> str:
    """Read what the Deployment's controller says of the rollout."""
    conditions = (team.deployment() or {})["status"].get("conditions", [])
    return str(next((each["reason"] for each in conditions if each["type"] == "Progressing"), ""))
