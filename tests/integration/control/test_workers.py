"""What workers do and cannot do shows in the status: real workers on a real broker, and pods without a kubelet."""

from pathlib import Path

import httpx

from tests.integration.harness.eventually import eventually
from tests.integration.harness.fake_kubelet import FakeKubelet
from tests.integration.harness.operator_process import OperatorProcess
from tests.integration.harness.tenant import Tenant

from .test_invariants import ready

ONE = {"minReplicas": 1, "maxReplicas": 1}


def test_dead_letters_that_their_queue_refuses_are_a_condition_until_it_takes_them(
    tenant: Tenant, operator: OperatorProcess, tmp_path: Path
) -> None:
    tenant.secret()
    # Classic: a Quorum queue takes a few messages more than its maximum length.
    tenant.taskqueue("jobs", scaling=ONE, queue={"type": "Classic"})
    kubelet = FakeKubelet(tenant, "jobs", tenant.broker, tmp_path)
    try:
        kubelet.until(lambda: tenant.condition("jobs").get("status"), "True")
        tenant.policy("full", "^jobs[.]dlq$", {"max-length": 0, "overflow": "reject-publish"}, priority=1)
        tenant.publish("jobs", "jobs", 1)  # without a type: no handler
        kubelet.until(lambda: tenant.condition("jobs").get("reason"), "DeadLettersBlocked")
        assert tenant.condition("jobs", "WorkersAvailable")["reason"] == "DeadLettersBlocked"
        eventually(lambda: "DeadLettersBlocked" in dict(tenant.events("jobs")))
        shown = httpx.get(f"http://127.0.0.1:{operator.port}/metrics", timeout=5).text
        assert f'namespace="{tenant.namespace}",reason="DeadLettersBlocked",status="False",type="Ready"' in shown
        assert '"reason":"DeadLettersBlocked"' in operator.log.read_text()
        assert tenant.queue("jobs")["messages"] == 1, "the worker holds it"
        tenant.http.delete(tenant.path("policies", "full")).raise_for_status()
        eventually(lambda: tenant.queue("jobs.dlq").get("messages"), 1)
        ready(tenant, "jobs")
    finally:
        kubelet.close()
