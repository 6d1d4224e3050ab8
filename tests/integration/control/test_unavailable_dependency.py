"""Real workers whose dependency goes away and comes back; the operator hears of it from their reports."""

from pathlib import Path

from tests.integration.harness.fake_kubelet import FakeKubelet
from tests.integration.harness.operator_process import OperatorProcess
from tests.integration.harness.tenant import Tenant
from tests.integration.worker.http_service import HttpService

from .test_workers import shown

WORKERS = 2


def test_no_worker_is_added_while_their_dependency_is_away(
    tenant: Tenant, operator: OperatorProcess, tmp_path: Path
) -> None:
    service = HttpService()
    tenant.secret()
    tenant.taskqueue("jobs", scaling={"minReplicas": WORKERS, "maxReplicas": 4, "readyPerReplica": 20})
    variables = {"TASKQUEUE_MODULES": "payment_tasks", "PAYMENTS_URL": service.url}
    kubelet = FakeKubelet(tenant, "jobs", tenant.broker, tmp_path, **variables)
    try:
        kubelet.until(lambda: [worker.is_ready for worker in kubelet.running.values()], [True] * WORKERS)
        kubelet.until(lambda: tenant.condition("jobs").get("status"), "True")
        service.stop()
        # Fewer than would start a further worker.
        kubelet.until(lambda: opened(tenant, kubelet), WORKERS)
        tenant.publish("jobs", "jobs", 100)
        kubelet.until(lambda: tenant.condition("jobs", "ScalingLimited").get("reason"), "DependencyUnavailable")
        assert '"payments"' in tenant.condition("jobs", "ScalingLimited")["message"]
        assert shown(tenant, operator, "jobs", "ScalingLimited") == "DependencyUnavailable"
        kubelet.until(lambda: trials(kubelet) >= WORKERS)
        kubelet.until(lambda: tenant.queue("jobs")["messages"] >= 60)  # the others were trials, which failed
        assert tenant.replicas("jobs") == WORKERS
        service.start()
        kubelet.until(lambda: tenant.replicas("jobs"), 4)
        kubelet.until(lambda: service.requests >= 60)
    finally:
        kubelet.close()
        service.stop()


def opened(tenant: Tenant, kubelet: FakeKubelet) -> int:
    """Publish a message, and return how many workers have met that the dependency is away, and said so."""
    tenant.publish("jobs", "jobs", 1)
    return sum(bool(worker.lines(event="breaker open")) for worker in kubelet.running.values())


def trials(kubelet: FakeKubelet) -> int:
    """Return how often workers have tried again."""
    return sum(len(worker.lines(event="breaker half open")) for worker in kubelet.running.values())
