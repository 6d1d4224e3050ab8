"""The ten-line TaskQueue of the README, verbatim, on a real API server and a real broker."""

from tests.integration.harness.eventually import eventually
from tests.integration.harness.operator_process import ROOT
from tests.integration.harness.tenant import Tenant

MINIMAL_SAMPLE = (ROOT / "deploy/samples/minimal.yaml").read_text()


def test_the_minimal_sample_creates_queue_deployment_and_status(tenant: Tenant) -> None:
    tenant.secret()
    tenant.kubectl("apply", "-f", "-", text=MINIMAL_SAMPLE)
    eventually(lambda: tenant.condition("thumbnails").get("status"), "True")
    assert tenant.queue("thumbnails")["type"] == "quorum"
    assert tenant.queue("thumbnails.dlq")["arguments"]["x-taskqueue-owner"] == f"default/{tenant.namespace}/thumbnails"
    assert tenant.read(tenant.path("exchanges", "thumbnails"))["type"] == "direct"
    assert tenant.replicas("thumbnails") == 0
    assert tenant.get("taskqueue", "thumbnails")["status"]["queue"] == "thumbnails"


def test_published_messages_scale_out_up_to_max_replicas(tenant: Tenant) -> None:
    tenant.secret()
    tenant.kubectl("apply", "-f", "-", text=MINIMAL_SAMPLE)
    eventually(lambda: tenant.condition("thumbnails").get("status"), "True")
    tenant.publish("thumbnails", "thumbnails", 45)
    eventually(lambda: tenant.replicas("thumbnails"), 3)
    tenant.publish("thumbnails", "thumbnails", 400)
    eventually(lambda: tenant.condition("thumbnails", "ScalingLimited").get("reason"), "WorkersStarting")
    assert tenant.replicas("thumbnails") == 3, "a version of which no worker has been ready"
    tenant.mark_started("thumbnails")
    eventually(lambda: tenant.replicas("thumbnails"), 20)
    eventually(lambda: tenant.condition("thumbnails", "ScalingLimited").get("reason"), "TooManyReplicas")
    assert tenant.get("taskqueue", "thumbnails")["status"]["desiredReplicas"] == 20
    assert "Scaled" in {reason for reason, _ in tenant.events("thumbnails")}


def test_an_empty_queue_scales_to_zero(tenant: Tenant) -> None:
    tenant.secret()
    quick = {"maxReplicas": 5, "idleSeconds": 1, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}}
    tenant.taskqueue("jobs", scaling=quick)
    eventually(lambda: tenant.condition("jobs").get("status"), "True")
    tenant.publish("jobs", "jobs", 30)
    eventually(lambda: tenant.replicas("jobs"), 2)
    tenant.purge("jobs")
    eventually(lambda: tenant.replicas("jobs"), 0)
