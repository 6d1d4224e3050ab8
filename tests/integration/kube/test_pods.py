"""Annotations of worker pods, on a real API server, and the limits of the permission to write them."""

import json
from typing import Any

from taskqueue_operator.drain.replicaset_order import CANDIDATE_COST, cost_annotations
from taskqueue_operator.kube.client import MERGE_PATCH, Api, connect, path
from taskqueue_operator.kube.cluster import KubernetesCluster
from taskqueue_operator.resource.names import DELETION_COST, Key
from tests.cluster.control_plane import ControlPlane


def pod(control_plane: ControlPlane, namespace: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(control_plane.kubectl("get", "pod", "worker", "-n", namespace, "--output=json"))
    return read


def run(control_plane: ControlPlane, namespace: str) -> str:
    spec = {"containers": [{"name": "worker", "image": "example.org/app:1"}], "automountServiceAccountToken": False}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "worker", "namespace": namespace}, "spec": spec}
    control_plane.kubectl("create", "-f", "-", text=json.dumps(body))
    uid: str = pod(control_plane, namespace)["metadata"]["uid"]
    return uid


async def test_a_deletion_cost_is_written_and_removed(
    cluster: KubernetesCluster, control_plane: ControlPlane, namespace: str
) -> None:
    uid, key = run(control_plane, namespace), Key(namespace, "worker")
    written = await cluster.annotate_pod(key, cost_annotations(CANDIDATE_COST), uid=uid)
    assert written is not None
    assert pod(control_plane, namespace)["metadata"]["annotations"][DELETION_COST] == str(CANDIDATE_COST)
    await cluster.annotate_pod(key, cost_annotations(None), uid=uid)
    assert DELETION_COST not in pod(control_plane, namespace)["metadata"].get("annotations", {})


async def test_a_pod_with_another_uid_is_not_annotated(
    cluster: KubernetesCluster, control_plane: ControlPlane, namespace: str
) -> None:
    run(control_plane, namespace)
    assert await cluster.annotate_pod(Key(namespace, "worker"), cost_annotations(CANDIDATE_COST), uid="another") is None
    assert (
        await cluster.annotate_pod(Key(namespace, "missing"), cost_annotations(CANDIDATE_COST), uid="another") is None
    )
    assert DELETION_COST not in pod(control_plane, namespace)["metadata"].get("annotations", {})


async def test_the_permission_to_annotate_does_not_allow_a_change_of_the_image(
    cluster: KubernetesCluster,  # noqa: ARG001  it says which API server
    control_plane: ControlPlane,
    namespace: str,
) -> None:
    run(control_plane, namespace)
    body = {"spec": {"containers": [{"name": "worker", "image": "example.org/evil:1"}]}}
    url = path("api/v1", "pods", Key(namespace, "worker"), "status")
    client = await connect()
    await Api(client, manager="test").request("PATCH", url, query={}, body=body, content=MERGE_PATCH)
    await client.close()  # type: ignore[no-untyped-call]  # the library has no types here
    assert pod(control_plane, namespace)["spec"]["containers"][0]["image"] == "example.org/app:1"
