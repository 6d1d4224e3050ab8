"""An operator of some namespaces serves those that exist."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.cluster.control_plane import ControlPlane
from tests.integration.harness.eventually import eventually
from tests.integration.harness.operator_process import OperatorProcess

USER = f"operator-{os.getpid()}"
KEPT, DELETED = f"kept-{os.getpid()}", f"deleted-{os.getpid()}"


@pytest.fixture
def plane(installed: ControlPlane) -> Iterator[ControlPlane]:
    for namespace in (KEPT, DELETED):
        create(installed, namespace)
    yield installed
    installed.kubectl("delete", "namespace", KEPT, DELETED, "--wait=false", "--ignore-not-found")


def create(plane: ControlPlane, namespace: str) -> None:
    """Create a namespace, and give the operator its rights there alone, as the chart does."""
    plane.kubectl("create", "namespace", namespace)
    plane.kubectl("-n", namespace, "create", "rolebinding", "all", "--clusterrole=cluster-admin", f"--user={USER}")


def is_served(plane: ControlPlane, namespace: str, name: str) -> bool:
    """Whether the operator writes the status of a new TaskQueue."""
    spec = {
        "broker": {"secretRef": {"name": "missing"}},
        "worker": {"image": "acme/app:1"},
        "scaling": {"maxReplicas": 1},
    }
    body = {"apiVersion": "taskqueue.dev/v1alpha1", "kind": "TaskQueue", "metadata": {"name": name}, "spec": spec}
    plane.kubectl("-n", namespace, "apply", "-f", "-", text=json.dumps(body))
    return bool(eventually(lambda: (plane.api.get("taskqueue", namespace, name) or {}).get("status", {})))


def test_a_deleted_namespace_is_named_and_the_others_are_served(plane: ControlPlane, tmp_path: Path) -> None:
    operator = OperatorProcess(
        plane.identity(USER),
        tmp_path,
        TASKQUEUE_NAMESPACES=f"{KEPT},{DELETED}",
        TASKQUEUE_LEASE=f"{KEPT}/lease",
    )
    plane.kubectl("delete", "namespace", DELETED)
    operator.start()
    try:
        assert is_served(plane, KEPT, "jobs")
        log = operator.log.read_text()
        assert "namespace not served" in log
        assert DELETED in log
        metrics = httpx.get(f"http://127.0.0.1:{operator.port}/metrics", timeout=60).text
        assert "taskqueue_namespaces_not_served 1.0" in metrics
        create(plane, DELETED)
        assert is_served(plane, DELETED, "jobs")
        plane.kubectl("-n", DELETED, "delete", "taskqueue", "jobs")
    finally:
        assert operator.stop() == 0, operator.log.read_text()[-3000:]
