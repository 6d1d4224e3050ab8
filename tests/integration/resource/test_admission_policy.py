"""The sample of a ValidatingAdmissionPolicy on a real API server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.cluster.progress import until

from .conftest import Write

POLICY = Path(__file__).parents[3] / "deploy/admission/restrict-workers.yaml"
BROKER = {"secretRef": {"name": "rabbitmq"}}
IMAGE = "registry.example.com/app:1"


def spec(broker: dict[str, Any] = BROKER, **worker: object) -> dict[str, Any]:
    return {"broker": broker, "worker": {"image": IMAGE} | worker, "scaling": {"maxReplicas": 1}}


@pytest.fixture
def restricted(api: ControlPlane, namespace: str, write: Write) -> Iterator[None]:
    api.kubectl("apply", "--warnings-as-errors", "--filename", str(POLICY))
    api.kubectl("label", "namespace", namespace, "taskqueue.dev/restricted=true")

    def is_enforced() -> bool:
        try:
            write(spec(image="elsewhere/app:1"))
        except RuntimeError:
            return True
        return False

    until(is_enforced, "the API server enforces the policy", seconds=120)
    yield
    api.kubectl("delete", "--filename", str(POLICY))


@pytest.mark.usefixtures("restricted")
def test_the_sample_policy_admits_plain_workers_and_rejects_the_others(write: Write) -> None:
    write(spec())
    write(spec(env=[{"name": "A", "value": "1"}, _from_secret("thumbnails-env")]))
    write(spec() | {"worker": {"deploymentRef": {"name": "shop"}}})
    for worker, field in (
        ({"image": "elsewhere/app:1"}, r"spec\.worker\.image"),
        ({"podTemplate": {"spec": {"hostNetwork": True}}}, r"spec\.worker\.podTemplate"),
        ({"env": [_from_secret("admin-token")]}, r"spec\.worker\.env"),
        ({"envFrom": [{"secretRef": {"name": "admin-token"}}]}, r"spec\.worker\.env"),
        ({"secretRef": {"name": "admin-token"}}, r"spec\.worker\.secretRef"),
    ):
        with pytest.raises(RuntimeError, match=field):
            write(spec(**worker))
    with pytest.raises(RuntimeError, match=r"spec\.broker\.secretRef"):
        write(spec({"secretRef": {"name": "admin-token"}}))


def _from_secret(name: str) -> dict[str, Any]:
    return {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": name, "key": "token"}}}
