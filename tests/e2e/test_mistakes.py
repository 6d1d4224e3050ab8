"""Mistakes that only a kubelet finds."""

from tests.e2e.team import Team


def test_workers_that_cannot_start_are_reported_where_the_user_looks(team: Team) -> None:
    team.apply(minReplicas=1, worker={"image": "localhost/nowhere:1"})
    team.until(lambda: team.condition("WorkersAvailable").get("reason") == "WorkersFailing", "the fault is found")
    message = team.condition("Ready")["message"]
    assert "ImagePull" in message or "ErrImage" in message
    assert "localhost/nowhere:1. Correct spec.worker.image" in message
