"""The CRD on a real API server: what it takes, what it shows, and that whatever it takes the operator reads."""

import json
from typing import Any

import pytest

from taskqueue_operator.resource.taskqueue import TaskQueue
from tests.cluster.control_plane import ControlPlane
from tests.unit.resource.specs import ACCEPTED, MINIMAL, REJECTED

from .conftest import CRD, Write

EXPLAINED = """\
  minReplicas	<integer>
    Never fewer workers. 0: sleep while there is nothing to do.
"""


def test_the_crd_can_be_applied_again_without_a_change(api: ControlPlane) -> None:
    before = api.kubectl("get", "crd", "taskqueues.taskqueue.dev", "-o", "jsonpath={.metadata.generation}")
    api.kubectl("apply", "--server-side", "--warnings-as-errors", "-f", str(CRD))
    assert api.kubectl("get", "crd", "taskqueues.taskqueue.dev", "-o", "jsonpath={.metadata.generation}") == before


def test_the_schema_is_structural_and_the_names_are_accepted(api: ControlPlane) -> None:
    found = json.loads(api.kubectl("get", "crd", "taskqueues.taskqueue.dev", "-o", "json"))["status"]
    conditions = {each["type"]: each["status"] for each in found["conditions"]}
    assert {"NamesAccepted": "True", "Established": "True"}.items() <= conditions.items()
    assert conditions.get("NonStructuralSchema", "False") == "False"


@pytest.mark.parametrize("spec", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_whatever_the_api_server_takes_the_operator_reads(write: Write, spec: dict[str, Any]) -> None:
    body = write(spec, verb="create")
    body["metadata"].setdefault("resourceVersion", "1")  # a rehearsal stores nothing
    with_defaults = TaskQueue.parse(body)
    assert with_defaults.spec == TaskQueue.parse(body | {"spec": spec}).spec


def test_every_default_is_stored(write: Write) -> None:
    spec = write(MINIMAL | {"queue": {}, "exchange": {}}, verb="create")["spec"]
    assert spec == {
        "broker": {"secretRef": {"name": "rabbitmq"}},
        "exchange": {"type": "Direct"},
        "queue": {"type": "Quorum", "external": False},
        "deletionPolicy": "Retain",
        "worker": {
            "image": "ghcr.io/acme/thumbnails:1.4",
            "protocol": "TaskQueue",
            "concurrency": 1,
            "taskTimeoutSeconds": 870,
        },
        "scaling": {
            "mode": "Auto",
            "minReplicas": 0,
            "maxReplicas": 20,
            "readyPerReplica": 20,
            "activationReady": 0,
            "idleSeconds": 60,
            "behavior": {
                "scaleUp": {"stabilizationWindowSeconds": 0, "selectPolicy": "Max"},
                "scaleDown": {"stabilizationWindowSeconds": 60, "selectPolicy": "Max"},
            },
        },
    }


@pytest.mark.parametrize(("path", "spec"), REJECTED.values(), ids=REJECTED.keys())
def test_what_the_models_refuse_the_api_server_refuses_at_that_field(
    write: Write, path: str, spec: dict[str, Any]
) -> None:
    with pytest.raises(RuntimeError) as caught:
        write(spec, verb="create")
    assert path in str(caught.value)


def test_null_stands_for_a_field_that_is_not_there(write: Write) -> None:
    stored = write(MINIMAL | {"queue": None, "deletionPolicy": None}, verb="create")["spec"]
    assert "queue" not in stored
    assert stored["deletionPolicy"] == "Retain"


def test_two_bindings_of_one_key_are_refused(write: Write) -> None:
    with pytest.raises(RuntimeError, match=r"spec\.bindings\[1\]: Duplicate value"):
        write(MINIMAL | {"bindings": [{"routingKey": "a"}, {"routingKey": "a"}]}, verb="create")


def test_two_variables_of_one_name_are_refused(write: Write) -> None:
    env = [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]
    with pytest.raises(RuntimeError, match=r"spec\.worker\.env\[1\]: Duplicate value"):
        write(MINIMAL | {"worker": {"image": "a", "env": env}}, verb="create")


def test_a_field_that_does_not_exist_is_named(write: Write) -> None:
    with pytest.raises(RuntimeError, match=r'unknown field "spec\.scaling\.maxReplica"'):
        write(MINIMAL | {"scaling": {"maxReplicas": 1, "maxReplica": 1}}, verb="create")


def test_explain_describes_every_field(api: ControlPlane) -> None:
    text = api.kubectl("explain", "tq.spec.scaling")
    assert EXPLAINED in text
    for field in ("tq", "tq.spec.broker", "tq.spec.queue", "tq.spec.worker", "tq.spec.scaling", "tq.status"):
        assert "<no description>" not in api.kubectl("explain", field).replace("metadata", "")


def test_get_shows_the_columns(api: ControlPlane, write: Write, namespace: str) -> None:
    write(MINIMAL, name="columns", dry=False)
    status = {
        "readyReplicas": 3,
        "desiredReplicas": 4,
        "backlog": {"ready": 75, "at": "2026-01-01T00:00:00Z"},
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "Backlog",
                "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }
        ],
    }
    patch = json.dumps({"status": status})
    api.kubectl("patch", "-n", namespace, "tq", "columns", "--subresource=status", "--type=merge", "-p", patch)
    head, row = api.kubectl("get", "tq", "-n", namespace, "columns").splitlines()
    assert head.split() == ["NAME", "READY", "BACKLOG", "WORKERS", "DESIRED", "MAX", "REASON", "AGE"]
    assert row.split()[:-1] == ["columns", "True", "75", "3", "4", "20", "Backlog"]


def test_it_is_found_by_short_name_and_category(api: ControlPlane, write: Write, namespace: str) -> None:
    write(MINIMAL, name="found", dry=False)
    for name in ("tq", "taskqueue", "messaging"):
        assert "taskqueue.taskqueue.dev/found" in api.kubectl("get", name, "-n", namespace, "-o", "name")
