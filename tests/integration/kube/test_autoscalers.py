"""HorizontalPodAutoscalers on a real API server: which Deployments they scale."""

import json

import pytest

from taskqueue_operator.kube import client
from taskqueue_operator.kube.cluster import KubernetesCluster
from taskqueue_operator.resource.faults import Fault, Reason
from tests.cluster.control_plane import ControlPlane


def autoscaler(name: str, kind: str, target: str) -> dict[str, object]:
    reference = {"apiVersion": "apps/v1", "kind": kind, "name": target}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name},
        "spec": {"maxReplicas": 3, "scaleTargetRef": reference},
    }


async def test_the_autoscalers_of_deployments_are_found_on_all_pages(
    cluster: KubernetesCluster, control_plane: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "LIST_PAGE_OBJECTS", 1)
    made = [
        autoscaler("a", "Deployment", "shop"),
        autoscaler("b", "StatefulSet", "mails"),
        autoscaler("c", "Deployment", "mails"),
    ]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": made})
    control_plane.kubectl("apply", "-n", namespace, "-f", "-", text=text)
    assert await cluster.autoscalers(namespace) == {"shop": "a", "mails": "c"}


async def test_a_missing_permission_is_named(unprivileged: KubernetesCluster, namespace: str) -> None:
    with pytest.raises(Fault) as caught:
        await unprivileged.autoscalers(namespace)
    assert caught.value.reason is Reason.API_UNAVAILABLE
    assert f"cannot list horizontalpodautoscalers of namespace {namespace}" in caught.value.message
    assert "Grant the operator's ServiceAccount the permissions of the chart." in caught.value.message
