"""What a real API server accepts and refuses of a Deployment, and in which words."""

import asyncio
from typing import Any

import pytest
import yaml

from taskqueue_operator.kube.cluster import KubernetesCluster
from taskqueue_operator.resource.faults import Fault, Reason, WorkersFault
from taskqueue_operator.workers.deployment import deployment
from tests.approved import assert_approved
from tests.cluster.control_plane import ControlPlane
from tests.unit.workers.test_deployment import INPUTS

from .conftest import Create


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ({"spec": {"fooBar": 1}}, "spec.template.spec.fooBar: field not declared in schema"),
        (
            {"spec": {"containers": [{"name": "worker", "imagePulPolicy": "Always"}]}},
            'spec.template.spec.containers[name="worker"].imagePulPolicy: field not declared in schema',
        ),
        (
            {"spec": {"priority": "high"}},
            "spec.template.spec.priority: expected numeric (int or float), got string",
        ),
        ({"spec": {"nodeSelector": {"a": 1}}}, "spec.template.spec.nodeSelector.a: expected string, got 1"),
        (
            {"spec": {"containers": [{"name": "worker", "imagePullPolicy": "Sometimes"}]}},
            (
                'spec.template.spec.containers[0].imagePullPolicy: Unsupported value: "Sometimes": '
                'supported values: "Always", "IfNotPresent", "Never"'
            ),
        ),
        (
            {"spec": {"containers": [{"name": "sidecar"}]}},
            "spec.template.spec.containers[1].image: Required value",
        ),
    ],
)
async def test_an_invalid_field_of_the_pod_template_is_named(
    cluster: KubernetesCluster, create: Create, template: dict[str, Any], words: str
) -> None:
    taskqueue = create(podTemplate=template)
    with pytest.raises(WorkersFault) as refused:
        await cluster.apply_deployment(deployment(taskqueue, replicas=0))
    assert refused.value.reason == Reason.POD_TEMPLATE_INVALID
    assert refused.value.terminal
    assert_approved("kubernetes.deployment_refused", refused.value.message.replace(words, "TEXT OF THE API SERVER"))
    assert await cluster.deployment(taskqueue.key) is None


@pytest.mark.parametrize("text", [file.read_text() for file in INPUTS], ids=[file.stem for file in INPUTS])
async def test_the_api_server_accepts_the_golden_manifests(
    cluster: KubernetesCluster, create: Create, text: str
) -> None:
    worker = yaml.safe_load(text)["spec"]["worker"]
    made = await cluster.apply_deployment(deployment(create(**worker), replicas=0))
    assert made["spec"]["template"]["spec"]["restartPolicy"] == "Always"


async def test_a_missing_permission_is_named(unprivileged: KubernetesCluster, create: Create) -> None:
    taskqueue = create()
    with pytest.raises(Fault, match=r"cannot patch resource.*permissions of the chart") as refused:
        await unprivileged.apply_deployment(deployment(taskqueue, replicas=0))
    assert refused.value.reason == Reason.API_UNAVAILABLE
    assert not isinstance(refused.value, WorkersFault)


async def test_an_exceeded_quota_is_reported_in_the_text_of_the_api_server(
    cluster: KubernetesCluster, create: Create, control_plane: ControlPlane, namespace: str
) -> None:
    control_plane.kubectl("-n", namespace, "create", "quota", "none", "--hard=count/deployments.apps=0")
    taskqueue = create()
    await quota_counted(control_plane, namespace)
    with pytest.raises(Fault, match="exceeded quota: none") as refused:
        await cluster.apply_deployment(deployment(taskqueue, replicas=0))
    assert "ServiceAccount" not in refused.value.message


async def quota_counted(control_plane: ControlPlane, namespace: str) -> None:
    async with asyncio.timeout(120):
        while True:
            used = r"jsonpath={.status.used.count/deployments\.apps}"
            if control_plane.kubectl("-n", namespace, "get", "quota", "none", "-o", used) == "0":
                return
            await asyncio.sleep(0.2)
