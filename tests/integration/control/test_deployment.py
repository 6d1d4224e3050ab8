"""The Deployment of the workers follows the spec, keeps its replicas, and is not taken over from another owner."""

import json
from typing import Any

import pytest

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


def test_what_another_client_changes_is_restored_and_its_additions_stay(tenant: Tenant) -> None:
    tenant.secret()
    tenant.taskqueue("jobs")
    ready(tenant, "jobs")
    tenant.kubectl("annotate", "deployment", "jobs", "theirs=1")
    sidecar = [{"op": "add", "path": "/spec/template/spec/containers/-", "value": {"name": "mesh", "image": "mesh:1"}}]
    tenant.kubectl("patch", "deployment", "jobs", "--type=json", f"--patch={json.dumps(sidecar)}")
    grace = [{"op": "replace", "path": "/spec/template/spec/terminationGracePeriodSeconds", "value": 5}]
    tenant.kubectl("patch", "deployment", "jobs", "--type=json", f"--patch={json.dumps(grace)}")
    eventually(lambda: pod_spec(tenant)["terminationGracePeriodSeconds"], 900)
    (message,) = eventually(lambda: [text for reason, text in tenant.events("jobs") if reason == "Restored"])
    assert '"kubectl-patch" changed spec.template.spec.terminationGracePeriodSeconds of Deployment' in message
    assert tenant.condition("jobs")["status"] == "True"
    # Again and again: a fight is not fought without pauses. The condition ends with the restoration, the Event stays.
    message = eventually(lambda: conflict_after_another_change(tenant))
    assert '"kubectl-set" changes spec.template.spec.containers[worker].image of Deployment' in message
    eventually(lambda: container(tenant)["image"], "ghcr.io/acme/thumbnails:1.4")
    ready(tenant, "jobs")
    assert [item["name"] for item in pod_spec(tenant)["containers"]] == ["worker", "mesh"]
    assert tenant.get("deployment", "jobs")["metadata"]["annotations"]["theirs"] == "1"


def test_a_version_is_ready_once_its_own_workers_are(tenant: Tenant) -> None:
    tenant.secret()
    tenant.taskqueue("jobs", scaling={"maxReplicas": 1, "minReplicas": 1})
    eventually(lambda: tenant.condition("jobs").get("reason"), "WorkersStarting")
    (first,) = eventually(lambda: pods(tenant))
    set_pod_status(tenant, first, ready=True)
    ready(tenant, "jobs")
    tenant.taskqueue("jobs", scaling={"maxReplicas": 1, "minReplicas": 1}, worker={"image": "acme/app:missing"})
    (second,) = eventually(lambda: [name for name in pods(tenant) if name != first])
    set_pod_status(tenant, second, ready=False, waiting="ImagePullBackOff")
    eventually(lambda: tenant.condition("jobs").get("reason"), "WorkersFailing")
    assert "workers of the former version go on" in tenant.condition("jobs", "WorkersAvailable")["message"]
    with pytest.raises(RuntimeError, match="timed out"):
        tenant.kubectl("wait", "--for=condition=Ready", "taskqueue/jobs", "--timeout=1s")
    set_pod_status(tenant, second, ready=True)
    tenant.kubectl("wait", "--for=condition=Ready", "taskqueue/jobs", "--timeout=120s")
    eventually(lambda: pods(tenant), [second])


def conflict_after_another_change(tenant: Tenant) -> str:
    """Set another image, and return the message of the Event about the conflict; empty without one."""
    tenant.kubectl("set", "image", "deployment/jobs", "worker=other:2")
    return next((text for reason, text in tenant.events("jobs") if reason == "FieldConflict"), "")


def pod_spec(tenant: Tenant) -> dict[str, Any]:
    return tenant.get("deployment", "jobs")["spec"]["template"]["spec"]  # type: ignore[no-any-return]


def pods(tenant: Tenant) -> list[str]:
    found = tenant.plane.api.list("pod", tenant.namespace, "taskqueue.dev/name=jobs")
    return [pod["metadata"]["name"] for pod in found if "deletionTimestamp" not in pod["metadata"]]


def set_pod_status(tenant: Tenant, name: str, *, ready: bool, waiting: str = "") -> None:
    """Write the status of a pod as its kubelet would."""
    state = {"waiting": {"reason": waiting}} if waiting else {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    shown = {"name": "worker", "ready": ready, "restartCount": 0, "image": "worker", "imageID": "", "state": state}
    conditions = [{"type": "Ready", "status": str(ready)}]
    status = {"phase": "Pending" if waiting else "Running", "conditions": conditions, "containerStatuses": [shown]}
    patch = json.dumps({"status": status})
    tenant.kubectl("patch", "pod", name, "--subresource=status", "--type=merge", f"--patch={patch}")


def container(tenant: Tenant) -> dict[str, Any]:
    return tenant.get("deployment", "jobs")["spec"]["template"]["spec"]["containers"][0]  # type: ignore[no-any-return]


def variables(tenant: Tenant) -> set[str]:
    return {variable["name"] for variable in container(tenant)["env"]}
