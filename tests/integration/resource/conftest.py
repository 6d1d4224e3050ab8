"""An API server with the CRD, and a fixture that writes TaskQueues."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cluster.api_reader import api_client
from tests.cluster.control_plane import ControlPlane
from tests.cluster.progress import until

CRD = Path(__file__).parents[3] / "crds/taskqueues.yaml"
NUMBERS = count(1)

Body = dict[str, Any]
Write = Callable[..., Body]


@pytest.fixture(scope="session")
def api(control_plane: ControlPlane) -> ControlPlane:
    """An API server with the CRD; a warning of the API server fails the test."""
    control_plane.install_crd()
    resources = ("api-resources", "--api-group=taskqueue.dev")  # kubectl remembers the answer
    until(lambda: "taskqueues" in control_plane.kubectl(*resources), "kubectl knows TaskQueues", seconds=120)
    return control_plane


@pytest.fixture(scope="module")
def namespace(api: ControlPlane) -> Iterator[str]:
    name = f"resource-{next(NUMBERS)}"
    api.kubectl("create", "namespace", name)
    yield name
    api.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="module")
def client(api: ControlPlane) -> Iterator[httpx.Client]:
    """Writes faster than kubectl, which starts anew for each object."""
    client = api_client(api.kubeconfig)
    assert client is not None
    with client:
        yield client


@pytest.fixture
def write(client: httpx.Client, namespace: str) -> Write:
    """Write a TaskQueue as kubectl does, and return the object; RuntimeError with the answer if it is rejected."""
    collection = f"/apis/taskqueue.dev/v1alpha1/namespaces/{namespace}/taskqueues"

    def write_taskqueue(spec: Body, *, name: str = "thumbnails", verb: str = "create", dry: bool = True) -> Body:
        body: Body = {
            "apiVersion": "taskqueue.dev/v1alpha1",
            "kind": "TaskQueue",
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec,
        }
        method, path = "POST", collection
        if verb == "replace":
            method, path = "PUT", f"{collection}/{name}"
            body["metadata"] |= {"resourceVersion": client.get(path).json()["metadata"]["resourceVersion"]}
        options = {"fieldValidation": "Strict"} | ({"dryRun": "All"} if dry else {})
        answer = client.request(method, path, json=body, params=options)
        if answer.is_error or "Warning" in answer.headers:
            raise RuntimeError(answer.headers.get("Warning") or answer.json()["message"])
        stored: Body = answer.json()
        return stored

    return write_taskqueue
