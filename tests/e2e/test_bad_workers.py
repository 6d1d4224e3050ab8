"""Mistakes that only a kubelet notices: the condition says which, and what to look at."""

from tests.e2e.team import Team


def complaint(team: Team) -> str:
    """Wait until the workers are said to fail, and give the message."""
    team.until(lambda: team.condition("Ready").get("reason") == "WorkersFailing", "the workers are said to fail")
    assert team.condition("WorkersAvailable")["status"] == "False"
    return str(team.condition("Ready")["message"])


def test_an_image_that_cannot_be_pulled_is_named(team: Team) -> None:
    team.apply(worker={"image": "localhost:1/acme/thumbnials:1.4"}, minReplicas=1)
    message = complaint(team)
    assert "PullBackOff of localhost:1/acme/thumbnials:1.4" in message or "ErrImagePull of" in message
    assert "Correct spec.worker.image" in message
    team.patch({"worker": {"image": team.image}})
    team.until_ready()
    team.until_replicas(lambda replicas: replicas == 1, "the worker is there")


def test_an_invalid_image_name_is_named(team: Team) -> None:
    team.apply(worker={"image": "Acme/App:1.4"}, minReplicas=1)
    assert "InvalidImageName of Acme/App:1.4. Correct spec.worker.image" in complaint(team)


def test_a_worker_that_ends_again_and_again_shows_where_its_log_is(team: Team) -> None:
    team.apply(worker={"env": [{"name": "TASKQUEUE_MODULES", "value": "nowhere"}]}, minReplicas=1)
    assert f"kubectl -n {team.namespace} logs -l taskqueue.dev/name=work -c worker --tail=50" in complaint(team)
