"""Deployments, pods and reports for tests: each differs from a usual one in the named fields."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from taskqueue_operator.drain.protocol import Report, State
from taskqueue_operator.resource.names import Key
from taskqueue_operator.workers.api_objects import Deployment, Pod

START = datetime(2026, 1, 1, tzinfo=UTC)
EPOCH = 7
TOKEN = f"{EPOCH}.1"

POD = Pod(
    key=Key("media", "a"),
    uid="a",
    taskqueue="thumbnails",
    resource_version="1",
    template_hash="1",
    replica_set="r",
    assigned=True,
    phase="Running",
    container_stopped=False,
    restarts=0,
    ready=True,
    deleting=False,
    finished=False,
)
DEPLOYMENT = Deployment(
    key=Key("media", "thumbnails"),
    uid="d",
    resource_version="1",
    generation=1,
    observed_generation=1,
    owner_kind="TaskQueue",
    owner_name="thumbnails",
    owner_uid="t",
    template_hash="1",
    replicas=3,
    current_replicas=3,
    ready=3,
    deleting=False,
    updated=3,
)
NO_CONTAINER: dict[str, Any] = {"container_stopped": True, "ready": False}


def pod(name: str, **fields: Any) -> Pod:  # noqa: ANN401  any field of a pod
    return replace(POD, key=Key("media", name), uid=name, **fields)


def report(name: str, number: int = 1, state: State = State.CONSUMING, **fields: Any) -> Report:  # noqa: ANN401  any field
    usual: dict[str, Any] = {
        "incarnation": "0" * 32,
        "in_flight": 0,
        "prefetched": 0,
        "idle_seconds": 0.0,
        "oldest_seconds": None,
        "completed": 0,
        "failed": 0,
        "busy_seconds": 0.0,
        "task_timeout_seconds": 300,
        "drain": None,
        "answer": None,
    }
    return Report(version=1, taskqueue="media/thumbnails", pod=name, number=number, state=state, **usual | fields)
