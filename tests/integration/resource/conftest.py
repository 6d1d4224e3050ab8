"""An API server with the CRD, and a fixture that writes TaskQueues."""

import json
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.control_plane import ControlPlane

CRD = Path(__file__).parents[3] / "crds/taskqueues.yaml"
NUMBERS = count(1)

Body = dict[str, Any]
Write = Callable[..., Body]


@pytest.fixture(scope="session")
def api(control_plane: ControlPlane) -> ControlPlane:
    """An API server with the CRD; a warning of the API server fails the test."""
    control_plane.kubectl("apply", "--server-side", "--warnings-as-errors", "-f", str(CRD))
    control_plane.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd/taskqueues.taskqueue.dev")
    return control_plane


@pytest.fixture(scope="module")
def namespace(api: ControlPlane) -> Iterator[str]:
    name = f"resource-{next(NUMBERS)}"
    api.kubectl("create", "namespace", name)
    yield name
    api.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def write(api: ControlPlane, namespace: str) -> Write:
    """Write a TaskQueue and return the stored object; raises RuntimeError with the answer if it is rejected."""

    def write_taskqueue(spec: Body, *, name: str = "thumbnails", verb: str = "apply", dry: bool = True) -> Body:
        body = {
            "apiVersion": "taskqueue.dev/v1alpha1",
            "kind": "TaskQueue",
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec,
        }
        dry_run = ["--dry-run=server"] if dry else []
        answer = api.kubectl(verb, "--warnings-as-errors", *dry_run, "-o", "json", "-f", "-", text=json.dumps(body))
        stored: Body = json.loads(answer)
        return stored

    return write_taskqueue
