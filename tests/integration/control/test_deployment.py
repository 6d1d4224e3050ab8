"""The Deployment of the workers follows the spec, keeps its replicas, and is not taken over from another owner."""

from typing import Any

from tests.integration.harness.eventually import eventually
from tests.integration.harness.operator_process import OperatorProcess
from tests.integration.harness.tenant import Tenant

from .test_invariants import ready


def test_changes_of_scaling_and_operator_restarts_do_not_restart_workers(
    tenant: Tenant, operator: OperatorProcess
) -> None:
    tenant.secret()
    tenant.taskqueue("jobs")
    ready(tenant, "jobs")
    template = tenant.get("deployment", "jobs")["spec"]["template"]
    tenant.taskqueue("jobs", scaling={"maxReplicas": 7, "minReplicas": 7, "readyPerReplica": 3})
    eventually(lambda: tenant.replicas("jobs"), 7)
    assert operator.stop() == 0
    operator.start()
    eventually(lambda: tenant.condition("jobs").get("observedGeneration"), 2)
    assert tenant.get("deployment", "jobs")["spec"]["template"] == template


def test_a_new_image_keeps_the_number_of_workers_and_a_removed_variable_is_removed(tenant: Tenant) -> None:
    tenant.secret()
    seven = {"maxReplicas": 7, "minReplicas": 7}
    env = [{"name": "COLOUR", "value": "red"}, {"name": "SIZE", "value": "L"}]
    tenant.taskqueue("jobs", scaling=seven, worker={"image": "acme/app:1", "env": env})
    eventually(lambda: tenant.replicas("jobs"), 7)
    assert {"COLOUR", "SIZE"} <= variables(tenant)
    tenant.taskqueue("jobs", scaling=seven, worker={"image": "acme/app:2", "env": env[1:]})
    eventually(lambda: container(tenant)["image"], "acme/app:2")
    assert tenant.replicas("jobs") == 7
    assert "COLOUR" not in variables(tenant)
    assert "SIZE" in variables(tenant)


def test_a_deleted_deployment_is_created_again(tenant: Tenant) -> None:
    tenant.secret()
    tenant.taskqueue("jobs", scaling={"maxReplicas": 3, "minReplicas": 2})
    eventually(lambda: tenant.replicas("jobs"), 2)
    tenant.kubectl("delete", "deployment", "jobs")
    eventually(lambda: tenant.replicas("jobs"), 2)


def test_replicas_that_were_changed_manually_return_to_the_desired_number(tenant: Tenant) -> None:
    tenant.secret()
    tenant.taskqueue("jobs", scaling={"maxReplicas": 5, "readyPerReplica": 1})
    ready(tenant, "jobs")
    tenant.publish("jobs", "jobs", 3)
    eventually(lambda: tenant.replicas("jobs"), 3)
    tenant.kubectl("scale", "deployment", "jobs", "--replicas=1")
    eventually(lambda: tenant.replicas("jobs"), 3)


def container(tenant: Tenant) -> dict[str, Any]:
    return tenant.get("deployment", "jobs")["spec"]["template"]["spec"]["containers"][0]  # type: ignore[no-any-return]


def variables(tenant: Tenant) -> set[str]:
    return {variable["name"] for variable in container(tenant)["env"]}
