import asyncio
import json
from typing import Any

import pytest
import yaml

from taskqueue_operator.kube.cluster import KubernetesCluster
from taskqueue_operator.resource.faults import Conflict, Fault, Reason, WorkersFault
from taskqueue_operator.resource.names import Key
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.workers.api_objects import Deployment, Pod
from taskqueue_operator.workers.deployment import deployment
from taskqueue_operator.workers.ownership import lost_fields
from tests.approved import assert_approved
from tests.cluster.control_plane import ControlPlane
from tests.unit.workers.test_deployment import INPUTS

from .conftest import Create


def live(body: dict[str, Any]) -> tuple[int, str]:
    """The precondition of every later write."""
    return body["spec"]["replicas"], body["metadata"]["resourceVersion"]


def reapply(taskqueue: TaskQueue, body: dict[str, Any]) -> dict[str, Any]:
    replicas, version = live(body)
    return deployment(taskqueue, replicas=replicas, resource_version=version)


def env(body: dict[str, Any]) -> list[str]:
    return [item["name"] for item in body["spec"]["template"]["spec"]["containers"][0]["env"]]


async def settled(cluster: KubernetesCluster, key: Key) -> Deployment:
    """The Deployment once its controller has seen it and made its pods."""
    async with asyncio.timeout(60):
        while True:
            body = await cluster.deployment(key)
            assert body is not None
            seen = Deployment.parse(body)
            if seen.observed_generation == seen.generation and seen.current_replicas == seen.replicas:
                return seen
            await asyncio.sleep(0.1)


async def test_an_apply_creates_with_replicas(cluster: KubernetesCluster, create: Create) -> None:
    taskqueue = create()
    assert await cluster.deployment(taskqueue.key) is None
    made = Deployment.parse(await cluster.apply_deployment(deployment(taskqueue, replicas=3)))
    assert made.replicas == 3
    assert (made.owner_kind, made.owner_name, made.owner_uid) == ("TaskQueue", "thumbnails", taskqueue.uid)
    seen = await settled(cluster, taskqueue.key)
    assert seen.current_replicas == 3
    pods = [Pod.parse(body) for body in await cluster.list_pods()]
    assert [pod.taskqueue for pod in pods] == ["thumbnails"] * 3


async def test_an_apply_keeps_the_live_replicas_and_removes_a_removed_variable(
    cluster: KubernetesCluster, create: Create
) -> None:
    taskqueue = create(env=[{"name": "KEEP"}, {"name": "DROP"}])
    made = Deployment.parse(await cluster.apply_deployment(deployment(taskqueue, replicas=0)))
    scaled = await cluster.scale(taskqueue.key, replicas=7, generation=made.generation)
    assert scaled["spec"]["replicas"] == 7
    assert "DROP" in env(scaled)
    edited = create(env=[{"name": "KEEP"}])
    for _ in range(3):
        try:
            applied = await cluster.apply_deployment(reapply(edited, scaled))
            break
        except Conflict:  # its controller wrote the status in between
            scaled = await cluster.deployment(taskqueue.key) or {}
    assert applied["spec"]["replicas"] == 7
    assert "KEEP" in env(applied)
    assert "DROP" not in env(applied)


async def test_an_equal_apply_writes_nothing(cluster: KubernetesCluster, create: Create) -> None:
    taskqueue = create()
    await cluster.apply_deployment(deployment(taskqueue, replicas=0))
    before = await settled(cluster, taskqueue.key)
    manifest = deployment(taskqueue, replicas=0, resource_version=before.resource_version)
    after = Deployment.parse(await cluster.apply_deployment(manifest))
    assert after.resource_version == before.resource_version


async def test_an_apply_based_on_an_older_state_is_a_conflict(cluster: KubernetesCluster, create: Create) -> None:
    taskqueue = create()
    old = await cluster.apply_deployment(deployment(taskqueue, replicas=1))
    await cluster.scale(taskqueue.key, replicas=9, generation=1)
    with pytest.raises(Conflict):
        await cluster.apply_deployment(reapply(taskqueue, old))
    now = await cluster.deployment(taskqueue.key)
    assert now is not None
    assert now["spec"]["replicas"] == 9


async def test_a_deployment_of_another_manager_is_not_taken_over(
    cluster: KubernetesCluster, create: Create, control_plane: ControlPlane, namespace: str
) -> None:
    taskqueue = create()
    control_plane.kubectl("-n", namespace, "create", "deployment", "thumbnails", "--image=theirs:1", "--replicas=0")
    with pytest.raises(Conflict):
        await cluster.apply_deployment(deployment(taskqueue, replicas=3))
    theirs = await cluster.deployment(taskqueue.key)
    assert theirs is not None
    assert theirs["spec"]["template"]["spec"]["containers"][0]["image"] == "theirs:1"


async def test_an_apply_that_expects_no_deployment_does_not_reset_the_replicas(
    cluster: KubernetesCluster, create: Create
) -> None:
    taskqueue = create()
    made = Deployment.parse(await cluster.apply_deployment(deployment(taskqueue, replicas=0)))
    scaled = await cluster.scale(taskqueue.key, replicas=7, generation=made.generation)
    with pytest.raises(Conflict):
        await cluster.apply_deployment(deployment(taskqueue, replicas=0))
    now = await cluster.deployment(taskqueue.key)
    assert now is not None
    assert now["spec"] == scaled["spec"]


async def test_null_in_a_pod_template_survives_the_api_server(cluster: KubernetesCluster, create: Create) -> None:
    taskqueue = create(podTemplate={"spec": {"containers": [{"name": "worker", "startupProbe": None}]}})
    made = await cluster.apply_deployment(deployment(taskqueue, replicas=0))
    container = made["spec"]["template"]["spec"]["containers"][0]
    assert "livenessProbe" in container
    assert "startupProbe" not in container


async def test_a_scale_based_on_an_older_generation_is_a_conflict(cluster: KubernetesCluster, create: Create) -> None:
    taskqueue = create()
    made = Deployment.parse(await cluster.apply_deployment(deployment(taskqueue, replicas=1)))
    await cluster.scale(taskqueue.key, replicas=4, generation=made.generation)
    with pytest.raises(Conflict):
        await cluster.scale(taskqueue.key, replicas=0, generation=made.generation)
    now = await cluster.deployment(taskqueue.key)
    assert now is not None
    assert now["spec"]["replicas"] == 4


async def test_a_scale_of_a_missing_deployment_is_a_conflict(cluster: KubernetesCluster, namespace: str) -> None:
    with pytest.raises(Conflict):
        await cluster.scale(Key(namespace, "missing"), replicas=1, generation=1)


async def test_an_invalid_scale_is_a_fault_and_not_a_conflict(cluster: KubernetesCluster, create: Create) -> None:
    """Else it would be read and tried again for ever."""
    taskqueue = create()
    await cluster.apply_deployment(deployment(taskqueue, replicas=1))
    with pytest.raises(Fault, match="must be greater than or equal to 0"):
        await cluster.scale(taskqueue.key, replicas=-1, generation=1)


async def test_a_status_change_does_not_prevent_a_scale(cluster: KubernetesCluster, create: Create) -> None:
    taskqueue = create()
    made = Deployment.parse(await cluster.apply_deployment(deployment(taskqueue, replicas=1)))
    seen = await settled(cluster, taskqueue.key)
    assert seen.resource_version != made.resource_version
    assert seen.generation == made.generation
    scaled = await cluster.scale(taskqueue.key, replicas=2, generation=made.generation)
    assert scaled["spec"]["replicas"] == 2


async def test_the_operator_is_the_only_manager_of_the_spec(cluster: KubernetesCluster, create: Create) -> None:
    taskqueue = create(env=[{"name": "A"}])
    await cluster.apply_deployment(deployment(taskqueue, replicas=1))
    await cluster.scale(taskqueue.key, replicas=2, generation=1)
    await settled(cluster, taskqueue.key)
    body = await cluster.deployment(taskqueue.key)
    assert body is not None
    await cluster.apply_deployment(reapply(create(env=[]), body))
    body = await cluster.deployment(taskqueue.key)
    assert body is not None
    entries = [item for item in body["metadata"]["managedFields"] if item.get("subresource") != "status"]
    managers = {(item["manager"], item["operation"]): item["fieldsV1"] for item in entries}
    scaling: dict[str, Any] = {"f:spec": {"f:replicas": {}}}
    # The annotation deployment.kubernetes.io/revision is the controller's, and is written along with the status.
    assert set(managers) == {("taskqueue-operator", "Apply"), ("taskqueue-operator", "Update")}
    assert managers["taskqueue-operator", "Update"] == scaling


EVERY_KIND_OF_FIELD = {
    "env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
    "envFrom": [{"configMapRef": {"name": "c"}}],
    "args": ["run", "--fast"],
    "resources": {"limits": {"cpu": "0.5", "memory": "1000Mi"}, "requests": {"cpu": "0.1"}},
    "podTemplate": {
        "metadata": {"labels": {"team": "media"}, "annotations": {"a.b/c": "d"}},
        "spec": {
            "serviceAccountName": "app",
            "imagePullSecrets": [{"name": "ghcr"}],
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"key": "gpu", "operator": "Exists"}],
            "affinity": {
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}]
                    }
                }
            },
            "topologySpreadConstraints": [
                {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {}}
            ],
            "hostAliases": [{"ip": "192.0.2.1", "hostnames": ["a", "b"]}],
            "initContainers": [{"name": "migrate", "image": "acme/db:1", "command": ["migrate"]}],
            "containers": [
                {"name": "worker", "lifecycle": {"preStop": {"exec": {"command": ["true"]}}}},
                {"name": "proxy", "image": "acme/proxy:1", "ports": [{"containerPort": 1, "protocol": "UDP"}]},
            ],
            "volumes": [{"name": "all", "projected": {"sources": [{"secret": {"name": "s"}}]}}],
        },
    },
}


@pytest.mark.parametrize("worker", [{}, EVERY_KIND_OF_FIELD], ids=["least", "every kind of field"])
async def test_the_operator_sees_which_of_its_fields_another_client_has_taken(
    cluster: KubernetesCluster, create: Create, control_plane: ControlPlane, namespace: str, worker: dict[str, Any]
) -> None:
    taskqueue = create(**worker)
    manifest = deployment(taskqueue, replicas=0)
    made = Deployment.parse(await cluster.apply_deployment(manifest))
    scaled = Deployment.parse(await cluster.scale(taskqueue.key, replicas=2, generation=made.generation))
    await cluster.set_drain_token(taskqueue.key, "1.1", generation=scaled.generation)

    async def lost() -> dict[str, str]:
        body = await cluster.deployment(taskqueue.key)
        assert body is not None
        return lost_fields(manifest, Deployment.parse(body).field_owners)

    def patch(*operations: dict[str, object]) -> None:
        control_plane.kubectl(
            "-n", namespace, "patch", "deployment", "thumbnails", "--type=json", f"--patch={json.dumps(operations)}"
        )

    assert await lost() == {}, "right after the apply, and after the operator's other writes"
    foreign = {"name": "sidecar", "image": "mesh:1"}
    patch({"op": "add", "path": "/spec/template/spec/containers/-", "value": foreign})
    control_plane.kubectl("-n", namespace, "annotate", "deployment", "thumbnails", "theirs=1")
    assert await lost() == {}, "additions of others take nothing"
    control_plane.kubectl("-n", namespace, "set", "image", "deployment/thumbnails", "worker=other:2")
    patch({"op": "replace", "path": "/spec/template/spec/terminationGracePeriodSeconds", "value": 5})
    patch({"op": "remove", "path": "/spec/template/spec/securityContext/runAsNonRoot"})
    taken = await lost()
    assert taken == {
        ".spec.template.spec.containers[worker].image": "kubectl-set",
        ".spec.template.spec.terminationGracePeriodSeconds": "kubectl-patch",
        ".spec.template.spec.securityContext.runAsNonRoot": "",
    }


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
    async with asyncio.timeout(60):
        while True:
            used = r"jsonpath={.status.used.count/deployments\.apps}"
            if control_plane.kubectl("-n", namespace, "get", "quota", "none", "-o", used) == "0":
                return
            await asyncio.sleep(0.2)


async def test_only_worker_deployments_of_the_watched_namespaces_are_listed(
    cluster: KubernetesCluster, create: Create, control_plane: ControlPlane, namespace: str
) -> None:
    control_plane.kubectl("-n", namespace, "create", "deployment", "theirs", "--image=theirs:1", "--replicas=0")
    await cluster.apply_deployment(deployment(create(), replicas=0))
    assert [item["metadata"]["name"] for item in await cluster.list_deployments()] == ["thumbnails"]
    elsewhere = KubernetesCluster(cluster._api._client, namespaces=["default"])
    assert await elsewhere.list_deployments() == []
    everywhere = KubernetesCluster(cluster._api._client)
    found = [item["metadata"]["namespace"] for item in await everywhere.list_deployments()]
    assert namespace in found
