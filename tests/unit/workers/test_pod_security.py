"""What a podTemplate may ask for."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue_operator.resource.faults import Reason, WorkersFault
from taskqueue_operator.workers.deployment import deployment
from taskqueue_operator.workers.pod_security import PodLimits, PodSecurity, check_pod_template
from tests.approved import assert_approved

from .conftest import Make

PRIVILEGED = PodLimits(PodSecurity.PRIVILEGED)


def refusal(template: dict[str, Any], limits: PodLimits) -> str:
    with pytest.raises(WorkersFault) as caught:
        check_pod_template(template, limits)
    assert caught.value.reason is Reason.POD_TEMPLATE_FORBIDDEN
    assert caught.value.terminal
    return caught.value.message


def container(**fields: object) -> dict[str, Any]:
    return {"spec": {"initContainers": [{"name": "a"}, {"name": "b"} | fields]}}


@pytest.mark.parametrize(
    ("field", "template"),
    [
        ("hostNetwork", {"spec": {"hostNetwork": True}}),
        ("hostPID", {"spec": {"hostPID": True}}),
        ("hostIPC", {"spec": {"hostIPC": "true"}}),
        ("volumes[1].hostPath", {"spec": {"volumes": [{"emptyDir": {}}, {"hostPath": {"path": "/"}}]}}),
        ("volumes[0].hostPath", {"spec": {"volumes": [{"hostPath": {}}]}}),
        (
            "securityContext.seccompProfile.type",
            {"spec": {"securityContext": {"seccompProfile": {"type": "Unconfined"}}}},
        ),
        ("securityContext.sysctls[0].name", {"spec": {"securityContext": {"sysctls": [{"name": "kernel.msgmax"}]}}}),
        ("initContainers[1].securityContext.privileged", container(securityContext={"privileged": True})),
        ("initContainers[1].securityContext.procMount", container(securityContext={"procMount": "Unmasked"})),
        (
            "initContainers[1].securityContext.capabilities.add[1]",
            container(securityContext={"capabilities": {"add": ["CHOWN", "SYS_ADMIN"]}}),
        ),
        (
            "initContainers[1].securityContext.seLinuxOptions.type",
            container(securityContext={"seLinuxOptions": {"type": "spc_t"}}),
        ),
        (
            "initContainers[1].securityContext.windowsOptions.hostProcess",
            container(securityContext={"windowsOptions": {"hostProcess": True}}),
        ),
        ("initContainers[1].ports[0].hostPort", container(ports=[{"hostPort": 80}])),
        ("initContainers[1].livenessProbe.httpGet.host", container(livenessProbe={"httpGet": {"host": "10.0.0.1"}})),
        (
            "ephemeralContainers[0].securityContext.privileged",
            {"spec": {"ephemeralContainers": [{"securityContext": {"privileged": True}}]}},
        ),
    ],
)
def test_access_to_the_node_is_refused_unless_allowed(field: str, template: dict[str, Any]) -> None:
    message = refusal(template, PodLimits())
    assert message.startswith(f"spec.worker.podTemplate.spec.{field} ")
    assert_approved("pod_template.forbidden_node_access", message.replace(field, "FIELD"))
    check_pod_template(template, PRIVILEGED)


def test_an_unconfined_apparmor_annotation_is_refused() -> None:
    annotations = {"container.apparmor.security.beta.kubernetes.io/worker": "unconfined"}
    assert "metadata.annotations" in refusal({"metadata": {"annotations": annotations}}, PodLimits())


@pytest.mark.parametrize("field", ["serviceAccountName", "serviceAccount"])
def test_another_service_account_is_refused_unless_allowed(field: str) -> None:
    template = {"spec": {field: "mailer"}}
    for limits in (PodLimits(), PRIVILEGED, PodLimits(service_accounts=frozenset({"mail"}))):
        message = refusal(template, limits)
    assert_approved("pod_template.forbidden_service_account", message.replace(f".{field} ", ".FIELD "))
    check_pod_template(template, PodLimits(service_accounts=frozenset({"mailer"})))
    check_pod_template(template, PodLimits(service_accounts=frozenset({"*"})))
    check_pod_template({"spec": {field: "default"}}, PodLimits())


def test_what_workers_commonly_need_is_allowed() -> None:
    check_pod_template(None, PodLimits())
    check_pod_template(
        {
            "metadata": {"annotations": {"prometheus.io/scrape": "true"}},
            "spec": {
                "securityContext": {"runAsUser": 0, "runAsNonRoot": None},
                "volumes": [{"name": "cache", "emptyDir": {}}],
                "tolerations": [{"key": "gpu"}],
                "containers": [{"name": "worker", "securityContext": {"capabilities": {"add": ["NET_BIND_SERVICE"]}}}],
            },
        },
        PodLimits(),
    )


def test_the_template_of_the_operator_meets_the_limits(make: Make) -> None:
    check_pod_template(deployment(make(), replicas=1)["spec"]["template"], PodLimits())


_POD_FIELDS = ("spec", "containers", "volumes", "hostPath", "ports", "serviceAccountName", "metadata", "annotations")
_fields = st.sampled_from([*_POD_FIELDS, "securityContext", "capabilities", "add", "sysctls"])
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_fields, inner, max_size=4),
)


@given(st.dictionaries(_fields, _json, max_size=4))
def test_any_json_is_allowed_or_refused(template: dict[str, Any]) -> None:
    with contextlib.suppress(WorkersFault):
        check_pod_template(template, PodLimits())
