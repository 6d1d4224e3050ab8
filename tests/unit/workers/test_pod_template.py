from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from taskqueue_operator.resource.faults import Reason, WorkersFault
from taskqueue_operator.workers.deployment import deployment
from taskqueue_operator.workers.pod_template import merge

from .conftest import Make

WORKER = "spec.worker.podTemplate.spec.containers[name=worker]"


def worker(**fields: object) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "worker"} | fields]}}


def pod(make: Make, template: dict[str, Any], **fields: object) -> dict[str, Any]:
    manifest = deployment(make(podTemplate=template, **fields), replicas=1)
    spec: dict[str, Any] = manifest["spec"]["template"]["spec"]
    return spec


@pytest.mark.parametrize(
    ("fields", "template", "message"),
    [
        (
            {},
            worker(image="other:1"),
            f"spec.worker.image and {WORKER}.image are both set. Keep one of them.",
        ),
        (
            {"args": ["a"]},
            worker(args=["b"]),
            f"spec.worker.args and {WORKER}.args are both set. Keep one of them.",
        ),
        (
            {"env": [{"name": "A", "value": "1"}]},
            worker(env=[{"name": "B", "value": "1"}, {"name": "A", "value": "2"}]),
            f"spec.worker.env[name=A] and {WORKER}.env[name=A] are both set. Keep one of them.",
        ),
        (
            {"envFrom": [{"configMapRef": {"name": "a"}}]},
            worker(envFrom=[{"configMapRef": {"name": "b"}}]),
            f"spec.worker.envFrom and {WORKER}.envFrom are both set. Keep one of them.",
        ),
        (
            {"resources": {"limits": {"nvidia.com/gpu": 1}}},
            worker(resources={"limits": {"nvidia.com/gpu": 2}}),
            (
                f"spec.worker.resources.limits[nvidia.com/gpu] and {WORKER}.resources.limits[nvidia.com/gpu] "
                "are both set. Keep one of them."
            ),
        ),
        (
            {},
            {"spec": {"terminationGracePeriodSeconds": 10}},
            (
                "spec.worker.podTemplate.spec.terminationGracePeriodSeconds follows from "
                "spec.worker.taskTimeoutSeconds. Remove it, and set taskTimeoutSeconds."
            ),
        ),
        (
            {},
            {"spec": {"restartPolicy": "Always"}},
            "spec.worker.podTemplate.spec.restartPolicy is always Always in a Deployment. Remove it.",
        ),
        (
            {},
            {"metadata": {"labels": {"taskqueue.dev/name": "other"}}},
            "spec.worker.podTemplate.metadata.labels[taskqueue.dev/name] ties the pods to their TaskQueue. Remove it.",
        ),
        (
            {},
            {"metadata": {"annotations": {"taskqueue.dev/template-digest": "mine"}}},
            (
                "spec.worker.podTemplate.metadata.annotations[taskqueue.dev/template-digest] tells which version of "
                "spec.worker a pod runs. Remove it."
            ),
        ),
        (
            {},
            {"spec": {"volumes": [{"name": "broker-binding", "emptyDir": {}}]}},
            (
                "spec.worker.podTemplate.spec.volumes[name=broker-binding] is the volume of the broker's Secret. "
                "Rename yours; to use another Secret, set spec.worker.secretRef."
            ),
        ),
        (
            {},
            worker(volumeMounts=[{"name": "mine", "mountPath": "/bindings/broker"}]),
            (
                f"{WORKER}.volumeMounts[mountPath=/bindings/broker] is where the worker reads its credentials. "
                "Mount yours elsewhere; to use another Secret, set spec.worker.secretRef."
            ),
        ),
        (
            {},
            worker(env=[{"name": "TASKQUEUE_CONCURRENCY", "value": "9"}]),
            (
                f"{WORKER}.env[name=TASKQUEUE_CONCURRENCY] and spec.worker.concurrency say the same. "
                "Remove the variable, and set spec.worker.concurrency."
            ),
        ),
        (
            {},
            worker(env=[{"name": "TASKQUEUE_ANYTHING", "value": "9"}]),
            (
                f"{WORKER}.env[name=TASKQUEUE_ANYTHING]: names that begin with TASKQUEUE_ are set by the operator. "
                "Rename or remove the variable."
            ),
        ),
    ],
)
def test_a_field_set_twice_is_refused_by_both_names(
    make: Make, fields: dict[str, Any], template: dict[str, Any], message: str
) -> None:
    with pytest.raises(WorkersFault) as refused:
        pod(make, template, **fields)
    assert refused.value.message == message
    assert refused.value.reason == Reason.FIELD_CONFLICT
    assert refused.value.terminal


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (
            {"containers": []},
            "spec.worker.podTemplate.containers is not part of a pod template, which has metadata and spec. Remove it.",
        ),
        ({"spec": []}, "spec.worker.podTemplate.spec must be a map."),
        ({"spec": {"containers": {"name": "worker"}}}, "spec.worker.podTemplate.spec.containers must be a list."),
        ({"spec": {"containers": ["worker"]}}, "spec.worker.podTemplate.spec.containers[0] must be a map."),
        (
            {"spec": {"containers": [{"image": "x"}]}},
            "spec.worker.podTemplate.spec.containers[0] has no name. Give it one.",
        ),
        (
            {"spec": {"containers": [{"name": "a"}, {"name": "a"}]}},
            "spec.worker.podTemplate.spec.containers[name=a] is there twice. Keep one of them.",
        ),
        (
            worker(volumeMounts=None),
            (
                f"{WORKER}.volumeMounts is null, which would remove "
                ".spec.containers[name=worker].volumeMounts[mountPath=/bindings/broker] too. Remove the line."
            ),
        ),
    ],
)
def test_what_is_no_pod_template_is_refused_by_name(make: Make, template: dict[str, Any], message: str) -> None:
    with pytest.raises(WorkersFault) as refused:
        pod(make, template)
    assert refused.value.message == message
    assert refused.value.reason == Reason.POD_TEMPLATE_INVALID
    assert refused.value.terminal


@pytest.mark.parametrize(
    "template",
    [worker(env=None), {"spec": {"containers": None}}, {"spec": None}, {"metadata": None}, {"spec": {"volumes": None}}],
)
def test_null_never_takes_away_what_the_operator_needs(make: Make, template: dict[str, Any]) -> None:
    with pytest.raises(WorkersFault, match="is null, which would remove"):
        pod(make, template)


def test_null_takes_away_a_mere_default(make: Make) -> None:
    spec = pod(make, {"spec": {"securityContext": {"fsGroup": None}, "nodeSelector": None}})
    assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert "nodeSelector" not in spec


def test_requests_here_and_limits_there_go_together(make: Make) -> None:
    spec = pod(make, worker(resources={"limits": {"cpu": "2"}}), resources={"requests": {"cpu": "1"}})
    assert spec["containers"][0]["resources"] == {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}


def test_another_kind_of_probe_takes_the_place_of_ours_and_keeps_its_thresholds(make: Make) -> None:
    spec = pod(make, worker(livenessProbe={"tcpSocket": {"port": 1}, "periodSeconds": 3}))
    assert spec["containers"][0]["livenessProbe"] == {
        "tcpSocket": {"port": 1},
        "periodSeconds": 3,
        "timeoutSeconds": 10,
        "failureThreshold": 6,
    }


def test_a_probe_of_the_same_kind_keeps_what_is_not_said(make: Make) -> None:
    spec = pod(make, worker(readinessProbe={"httpGet": {"path": "/other"}}))
    assert spec["containers"][0]["readinessProbe"]["httpGet"] == {"path": "/other", "port": 8080}


def test_a_volume_of_the_users_replaces_ours_with_its_source(make: Make) -> None:
    spec = pod(make, {"spec": {"volumes": [{"name": "tmp", "hostPath": {"path": "/x"}}]}})
    assert {"name": "tmp", "hostPath": {"path": "/x"}} in spec["volumes"]
    assert len(spec["volumes"]) == 2


def test_one_port_number_serves_two_protocols(make: Make) -> None:
    ports = [{"name": "dns", "containerPort": 8080, "protocol": "UDP"}]
    assert pod(make, worker(ports=ports))["containers"][0]["ports"] == [
        {"name": "http", "containerPort": 8080},
        *ports,
    ]


def test_sidecars_may_call_their_variables_what_they_like(make: Make) -> None:
    sidecar = {"name": "side", "image": "x", "env": [{"name": "TASKQUEUE_NAME", "value": "mine"}]}
    assert pod(make, {"spec": {"containers": [sidecar]}})["containers"][1] == sidecar


def test_the_spec_itself_is_never_changed(make: Make) -> None:
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
def test_merging_twice_is_merging_once(base: dict[str, Any], patch: dict[str, Any]) -> None:
    try:
        once = merge({"spec": base}, {"spec": patch}, {})
    except WorkersFault:
        return  # a list where a map is, or the other way round
    assert merge(once, {"spec": patch}, {}) == once


@given(base=MAPS)
def test_an_empty_pod_template_changes_nothing(base: dict[str, Any]) -> None:
    assert merge({"spec": base}, {"spec": {}}, {}) == {"spec": base}
