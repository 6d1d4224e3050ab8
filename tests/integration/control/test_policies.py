"""The policies of users and of the operator for one queue."""

from tests.integration.harness.eventually import eventually
from tests.integration.harness.tenant import Tenant

from .test_invariants import ready

HOURS = 7_320_000


def test_the_timeout_policy_needs_the_highest_priority_and_goes_with_the_taskqueue(tenant: Tenant) -> None:
    tenant.secret()
    # Evaluated by a backtracking matcher, this pattern takes for ever for the name of the queue.
    tenant.policy("endless", "^(a+)+$", {"max-length": 1})
    queue = "a" * 40 + ":"
    tenant.policy("company", "^a", {"max-length": 7}, priority=5000)
    plain = {"image": "acme/celery:1", "protocol": "Plain", "taskTimeoutSeconds": 7260}
    tenant.taskqueue("jobs", queue={"name": queue}, worker=plain)
    eventually(lambda: tenant.condition("jobs", "TopologyReady").get("reason"), "PolicyConflict")
    assert not tenant.get("deployment", "jobs"), "workers would lose their messages after 30 minutes"

    tenant.policy("company", "^a", {"max-length": 7}, priority=1)
    ready(tenant, "jobs")
    ours = tenant.path("policies", f"{queue}.timeout over company")
    assert tenant.read(ours)["definition"] == {"max-length": 7, "consumer-timeout": HOURS}

    tenant.kubectl("delete", "taskqueue", "jobs", "--wait=false")
    eventually(lambda: tenant.get("taskqueue", "jobs"), {})
    assert not tenant.read(ours)
    assert tenant.queue(queue)
