from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from taskqueue_operator.resource.faults import Reason, WorkersFault
from taskqueue_operator.workers.deployment import deployment
from taskqueue_operator.workers.pod_template import merge
from tests.approved import assert_approved

from .conftest import Make

WORKER = "spec.worker.podTemplate.spec.containers[name=worker]"


def worker(**fields: object) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "worker"} | fields]}}


def pod(make: Make, template: dict[str, Any], **fields: object) -> dict[str, Any]:
    manifest = deployment(make(podTemplate=template, **fields), replicas=1)
    spec: dict[str, Any] = manifest["spec"]["template"]["spec"]
    return spec


@pytest.mark.parametrize(
    ("key", "fields", "template"),
    [
        ("pod_template.conflict_image", {}, worker(image="other:1")),
        ("pod_template.conflict_args", {"args": ["a"]}, worker(args=["b"])),
        (
            "pod_template.conflict_env",
            {"env": [{"name": "A", "value": "1"}]},
            worker(env=[{"name": "B", "value": "1"}, {"name": "A", "value": "2"}]),
        ),
        (
            "pod_template.conflict_env_from",
            {"envFrom": [{"configMapRef": {"name": "a"}}]},
            worker(envFrom=[{"configMapRef": {"name": "b"}}]),
        ),
        (
            "pod_template.conflict_resources",
            {"resources": {"limits": {"nvidia.com/gpu": 1}}},
            worker(resources={"limits": {"nvidia.com/gpu": 2}}),
        ),
        ("pod_template.conflict_grace_period", {}, {"spec": {"terminationGracePeriodSeconds": 10}}),
        ("pod_template.conflict_restart_policy", {}, {"spec": {"restartPolicy": "Always"}}),
        ("pod_template.conflict_name_label", {}, {"metadata": {"labels": {"taskqueue.dev/name": "other"}}}),
        (
            "pod_template.conflict_hash_annotation",
            {},
            {"metadata": {"annotations": {"taskqueue.dev/template-digest": "mine"}}},
        ),
        (
            "pod_template.conflict_binding_volume",
            {},
            {"spec": {"volumes": [{"name": "broker-binding", "emptyDir": {}}]}},
        ),
        (
            "pod_template.conflict_binding_mount",
            {},
            worker(volumeMounts=[{"name": "mine", "mountPath": "/bindings/broker"}]),
        ),
        ("pod_template.conflict_contract_variable", {}, worker(env=[{"name": "TASKQUEUE_CONCURRENCY", "value": "9"}])),
        ("pod_template.conflict_reserved_variable", {}, worker(env=[{"name": "TASKQUEUE_ANYTHING", "value": "9"}])),
    ],
)
def test_a_field_that_is_set_twice_is_rejected(
    make: Make, key: str, fields: dict[str, Any], template: dict[str, Any]
) -> None:
    with pytest.raises(WorkersFault) as caught:
        pod(make, template, **fields)
    assert_approved(key, caught.value.message)
    assert caught.value.reason == Reason.FIELD_CONFLICT
    assert caught.value.terminal


@pytest.mark.parametrize(
    ("key", "template"),
    [
        ("pod_template.unknown_field", {"containers": []}),
        ("pod_template.spec_is_no_map", {"spec": []}),
        ("pod_template.containers_is_no_list", {"spec": {"containers": {"name": "worker"}}}),
        ("pod_template.container_is_no_map", {"spec": {"containers": ["worker"]}}),
        ("pod_template.container_without_name", {"spec": {"containers": [{"image": "x"}]}}),
        ("pod_template.duplicate_container", {"spec": {"containers": [{"name": "a"}, {"name": "a"}]}}),
        ("pod_template.null_removes_a_claimed_field", worker(volumeMounts=None)),
    ],
)
def test_an_invalid_pod_template_is_rejected(make: Make, key: str, template: dict[str, Any]) -> None:
    with pytest.raises(WorkersFault) as caught:
        pod(make, template)
    assert_approved(key, caught.value.message)
    assert caught.value.reason == Reason.POD_TEMPLATE_INVALID
    assert caught.value.terminal


@pytest.mark.parametrize(
    "template",
    [worker(env=None), {"spec": {"containers": None}}, {"spec": None}, {"metadata": None}, {"spec": {"volumes": None}}],
)
def test_null_does_not_remove_a_field_that_the_operator_needs(make: Make, template: dict[str, Any]) -> None:
    with pytest.raises(WorkersFault, match="is null") as caught:
        pod(make, template)
    assert caught.value.reason is Reason.POD_TEMPLATE_INVALID


def test_null_removes_a_default(make: Make) -> None:
    spec = pod(make, {"spec": {"securityContext": {"fsGroup": None}, "nodeSelector": None}})
    assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert "nodeSelector" not in spec


def test_requests_of_the_spec_and_limits_of_the_pod_template_are_merged(make: Make) -> None:
    spec = pod(make, worker(resources={"limits": {"cpu": "2"}}), resources={"requests": {"cpu": "1"}})
    assert spec["containers"][0]["resources"] == {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}


def test_a_probe_of_another_kind_replaces_the_handler_and_keeps_the_thresholds(make: Make) -> None:
    spec = pod(make, worker(livenessProbe={"tcpSocket": {"port": 1}, "periodSeconds": 3}))
    assert spec["containers"][0]["livenessProbe"] == {
        "tcpSocket": {"port": 1},
        "periodSeconds": 3,
        "timeoutSeconds": 10,
        "failureThreshold": 6,
    }


def test_a_probe_of_the_same_kind_keeps_fields_that_are_not_set(make: Make) -> None:
    spec = pod(make, worker(readinessProbe={"httpGet": {"path": "/other"}}))
    assert spec["containers"][0]["readinessProbe"]["httpGet"] == {"path": "/other", "port": 8080}


def test_a_volume_of_the_user_replaces_the_whole_default_volume(make: Make) -> None:
    spec = pod(make, {"spec": {"volumes": [{"name": "tmp", "hostPath": {"path": "/x"}}]}})
    assert {"name": "tmp", "hostPath": {"path": "/x"}} in spec["volumes"]
    assert len(spec["volumes"]) == 2


def test_one_port_number_may_have_two_protocols(make: Make) -> None:
    ports = [{"name": "dns", "containerPort": 8080, "protocol": "UDP"}]
    assert pod(make, worker(ports=ports))["containers"][0]["ports"] == [
        {"name": "http", "containerPort": 8080},
        *ports,
    ]


def test_sidecars_may_have_variables_with_reserved_names(make: Make) -> None:
    sidecar = {"name": "side", "image": "x", "env": [{"name": "TASKQUEUE_NAME", "value": "mine"}]}
    assert pod(make, {"spec": {"containers": [sidecar]}})["containers"][1] == sidecar


def test_building_a_manifest_does_not_change_the_spec(make: Make) -> None:
    template = worker(env=[{"name": "A"}], startupProbe=None)
    taskqueue = make(podTemplate=template)
    before = repr(taskqueue)
    deployment(taskqueue, replicas=1)
    assert repr(taskqueue) == before


KEYS = st.sampled_from(["a", "b", "c.d/e"])
VALUES = st.recursive(
    st.integers(0, 3) | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
MAPS = st.dictionaries(KEYS, VALUES, max_size=3)


@given(base=MAPS, patch=MAPS)
@example(base={"a": 0}, patch={"a": {"b": None}})
def test_merging_twice_is_the_same_as_merging_once(base: dict[str, Any], patch: dict[str, Any]) -> None:
    try:
        once = merge({"spec": base}, {"spec": patch}, {})
    except WorkersFault:
        return  # a list where a map is, or the other way round
    assert merge(once, {"spec": patch}, {}) == once


@given(base=MAPS)
def test_an_empty_pod_template_changes_nothing(base: dict[str, Any]) -> None:
    assert merge({"spec": base}, {"spec": {}}, {}) == {"spec": base}


@pytest.mark.parametrize(
    "template",
    [
        {"spec": {"containers": [{"name": "sidecar", "resources": {"limits": {"memory": "512MB"}}}]}},
        {"spec": {"initContainers": [{"name": "first", "resources": {"requests": {"cpu": "half"}}}]}},
        {"spec": {"volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": "1 Gi"}}]}},
        {"spec": {"overhead": {"cpu": ""}}},
    ],
)
def test_an_invalid_quantity_is_reported_with_its_field_and_value(make: Make, template: dict[str, Any]) -> None:
    with pytest.raises(WorkersFault) as caught:
        pod(make, template)
    assert caught.value.reason == Reason.POD_TEMPLATE_INVALID
    assert caught.value.message.startswith("spec.worker.podTemplate.spec.")
    if "sidecar" in str(template):
        assert_approved("pod_template.invalid_quantity", caught.value.message)


@pytest.mark.parametrize("quantity", ["1", "0.5", ".5", "1.", "500m", "64Mi", "1e3", "1E3", "+1", "-1k", "12E", 3])
def test_a_valid_quantity_is_accepted(make: Make, quantity: str | int) -> None:
    assert pod(make, {"spec": {"overhead": {"cpu": quantity}}})["overhead"] == {"cpu": quantity}
