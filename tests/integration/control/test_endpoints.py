"""Endpoints of the running operator: metrics, and the decisions of one TaskQueue."""

import httpx
from prometheus_client.parser import text_string_to_metric_families

from taskqueue_operator.scaling import recording
from tests.integration.harness.eventually import eventually
from tests.integration.harness.operator_process import OperatorProcess
from tests.integration.harness.tenant import Tenant


def series(operator: OperatorProcess, tenant: Tenant) -> dict[str, float]:
    """The metrics of the team's TaskQueues, without the prefix."""
    text = httpx.get(f"http://127.0.0.1:{operator.port}/metrics", timeout=60).text
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return {
        sample.name.removeprefix("taskqueue_"): sample.value
        for sample in samples
        if sample.labels.get("namespace") == tenant.namespace
    }


def decisions(operator: OperatorProcess, tenant: Tenant, name: str) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{operator.port}/debug/taskqueues/{tenant.namespace}/{name}", timeout=60)


def test_a_taskqueue_has_metrics_until_it_is_deleted(operator: OperatorProcess, tenant: Tenant) -> None:
    tenant.secret()
    tenant.taskqueue("jobs")
    eventually(lambda: tenant.condition("jobs").get("status"), "True")
    tenant.publish("jobs", "jobs", 45)
    eventually(lambda: series(operator, tenant).get("replicas"), 3)
    # Forty-one of them already ask for three: the last may still be on their way.
    eventually(lambda: series(operator, tenant).get("queue_messages_ready"), 45)
    gauges = series(operator, tenant)
    assert gauges["desired_replicas"] == 3
    assert 0 <= gauges["reading_age_seconds"] < float("inf")
    tenant.kubectl("delete", "taskqueue", "jobs")
    eventually(lambda: series(operator, tenant), {})


def test_the_recorded_decisions_can_be_replayed_and_contain_no_secret(
    operator: OperatorProcess, tenant: Tenant
) -> None:
    tenant.secret()
    tenant.taskqueue("jobs")
    eventually(lambda: tenant.condition("jobs").get("status"), "True")
    tenant.publish("jobs", "jobs", 45)
    eventually(lambda: tenant.replicas("jobs"), 3)
    answer = decisions(operator, tenant, "jobs")
    recorded = recording.from_json(answer.content)
    assert recorded[-1].decision.desired == 3
    assert [recording.replay() for recording in recorded] == [recording.decision for recording in recorded]
    assert "guest" not in answer.text
    assert "amqp" not in answer.text


def test_a_missing_taskqueue_has_no_decisions(operator: OperatorProcess, tenant: Tenant) -> None:
    answer = decisions(operator, tenant, "jobs")
    assert answer.status_code == 404
    assert f"{tenant.namespace}/jobs" in answer.text
