"""The CRD on a real API server: accepted objects, printer columns, and parsing of every accepted object."""

import json
from typing import Any

import pytest

from taskqueue_operator.resource.scaling import Scaling
from taskqueue_operator.resource.taskqueue import TaskQueue
from tests.cluster.control_plane import ControlPlane
from tests.unit.resource.spec_examples import ACCEPTED, MINIMAL, REJECTED

from .conftest import CRD, Write


def test_the_crd_can_be_applied_again_without_a_change(api: ControlPlane) -> None:
    before = api.kubectl("get", "crd", "taskqueues.taskqueue.dev", "-o", "jsonpath={.metadata.generation}")
    api.kubectl("apply", "--server-side", "--warnings-as-errors", "-f", str(CRD))
    assert api.kubectl("get", "crd", "taskqueues.taskqueue.dev", "-o", "jsonpath={.metadata.generation}") == before


def test_the_schema_is_structural_and_the_names_are_accepted(api: ControlPlane) -> None:
    status = json.loads(api.kubectl("get", "crd", "taskqueues.taskqueue.dev", "-o", "json"))["status"]
    conditions = {condition["type"]: condition["status"] for condition in status["conditions"]}
    assert {"NamesAccepted": "True", "Established": "True"}.items() <= conditions.items()
    assert conditions.get("NonStructuralSchema", "False") == "False"


@pytest.mark.parametrize("spec", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_the_operator_parses_every_object_that_the_api_server_accepts(write: Write, spec: dict[str, Any]) -> None:
    body = write(spec)
    body["metadata"].setdefault("resourceVersion", "1")  # a dry run stores nothing
    with_defaults = TaskQueue.parse(body)
    assert with_defaults.spec == TaskQueue.parse(body | {"spec": spec}).spec


def test_the_api_server_stores_every_default(write: Write) -> None:
    spec = write(MINIMAL | {"queue": {}, "exchange": {}})["spec"]
    assert spec == {
        "broker": {"secretRef": {"name": "rabbitmq"}},
        "exchange": {"type": "Direct"},
        "queue": {
            "type": "Quorum",
            "changePolicy": "Never",
            "external": False,
            "settingsBy": "Arguments",
            "singleActiveConsumer": False,
        },
        "adoptionPolicy": "Never",
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
def test_the_api_server_rejects_what_the_models_reject_and_names_the_field(
    write: Write, path: str, spec: dict[str, Any]
) -> None:
    with pytest.raises(RuntimeError) as caught:
        write(spec)
    assert path in str(caught.value)


def test_null_is_the_same_as_an_absent_field(write: Write) -> None:
    stored = write(MINIMAL | {"queue": None, "deletionPolicy": None})["spec"]
    assert "queue" not in stored
    assert stored["deletionPolicy"] == "Retain"


def test_two_variables_with_the_same_name_are_rejected(write: Write) -> None:
    env = [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]
    with pytest.raises(RuntimeError, match=r"spec\.worker\.env\[1\]: Duplicate value"):
        write(MINIMAL | {"worker": {"image": "a", "env": env}})


def test_the_error_for_an_unknown_field_names_the_field(write: Write) -> None:
    with pytest.raises(RuntimeError, match=r'unknown field "spec\.scaling\.maxReplica"'):
        write(MINIMAL | {"scaling": {"maxReplicas": 1, "maxReplica": 1}})


def test_explain_describes_every_field(api: ControlPlane) -> None:
    text = api.kubectl("explain", "tq.spec.scaling")
    description = Scaling.model_fields["min_replicas"].description
    assert f"  minReplicas\t<integer>\n    {description}\n" in text
    for field in ("tq", "tq.spec.broker", "tq.spec.queue", "tq.spec.worker", "tq.spec.scaling", "tq.status"):
        assert "<no description>" not in api.kubectl("explain", field).replace("metadata", "")


def test_kubectl_get_shows_the_printer_columns(api: ControlPlane, write: Write, namespace: str) -> None:
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
    assert head.split() == ["NAME", "READY", "BACKLOG", "DEAD", "WORKERS", "DESIRED", "MAX", "REASON", "AGE"]
    assert row.split()[:-1] == ["columns", "True", "75", "3", "4", "20", "Backlog"]


def test_kubectl_finds_a_taskqueue_by_short_name_and_category(api: ControlPlane, write: Write, namespace: str) -> None:
    write(MINIMAL, name="found", dry=False)
    for name in ("tq", "taskqueue", "messaging"):
        assert "taskqueue.taskqueue.dev/found" in api.kubectl("get", name, "-n", namespace, "-o", "name")


def test_server_side_apply_replaces_the_bindings_as_a_whole(api: ControlPlane, namespace: str) -> None:
    def apply(manager: str, *keys: str) -> list[str]:
        spec = MINIMAL | {"bindings": [{"routingKey": key} for key in keys]}
        metadata = {"name": "bound", "namespace": namespace}
        body = {"apiVersion": "taskqueue.dev/v1alpha1", "kind": "TaskQueue", "metadata": metadata, "spec": spec}
        flags = ("apply", "--server-side", f"--field-manager={manager}", "-o", "json", "-f", "-")
        stored = json.loads(api.kubectl(*flags, text=json.dumps(body)))
        return [binding["routingKey"] for binding in stored["spec"]["bindings"]]

    assert apply("first", "a", "b") == ["a", "b"]
    assert apply("first", "b", "c") == ["b", "c"]
    with pytest.raises(RuntimeError, match=r"conflict with \"first\": \.spec\.bindings"):
        apply("second", "d")
