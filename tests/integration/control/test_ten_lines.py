"""The ten-line TaskQueue of the README, verbatim, on a real API server and a real broker."""

from .stage import ROOT, Stage, eventually

TEN_LINES = (ROOT / "deploy/samples/minimal.yaml").read_text()


def test_ten_lines_make_queue_deployment_and_status(stage: Stage) -> None:
    stage.secret()
    stage.kubectl("apply", "-f", "-", text=TEN_LINES)
    eventually(lambda: stage.condition("thumbnails").get("status"), "True")
    assert stage.queue("thumbnails")["type"] == "quorum"
    assert stage.queue("thumbnails.dlq")["arguments"]["x-taskqueue-owner"] == f"default/{stage.namespace}/thumbnails"
    assert stage.read(stage.path("exchanges", "thumbnails"))["type"] == "direct"
    assert stage.replicas("thumbnails") == 0
    assert stage.get("taskqueue", "thumbnails")["status"]["queue"] == "thumbnails"


def test_published_messages_wake_workers_and_never_more_than_allowed(stage: Stage) -> None:
    stage.secret()
    stage.kubectl("apply", "-f", "-", text=TEN_LINES)
    eventually(lambda: stage.condition("thumbnails").get("status"), "True")
    stage.publish("thumbnails", "thumbnails", 45)
    eventually(lambda: stage.replicas("thumbnails"), 3)
    stage.publish("thumbnails", "thumbnails", 400)
    eventually(lambda: stage.replicas("thumbnails"), 20)
    eventually(lambda: stage.condition("thumbnails", "ScalingLimited").get("reason"), "TooManyReplicas")
    assert stage.get("taskqueue", "thumbnails")["status"]["desiredReplicas"] == 20
    assert "Scaled" in {reason for reason, _ in stage.events("thumbnails")}


def test_an_empty_queue_lets_the_workers_go(stage: Stage) -> None:
    stage.secret()
    quick = {"maxReplicas": 5, "idleSeconds": 1, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}}
    stage.taskqueue("jobs", scaling=quick)
    eventually(lambda: stage.condition("jobs").get("status"), "True")
    stage.publish("jobs", "jobs", 30)
    eventually(lambda: stage.replicas("jobs"), 2)
    stage.purge("jobs")
    eventually(lambda: stage.replicas("jobs"), 0)
