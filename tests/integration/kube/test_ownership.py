"""Which fields of a Deployment another client has taken, as a real API server records it."""

import json
from typing import Any

import pytest

from taskqueue_operator.kube.cluster import KubernetesCluster
from taskqueue_operator.workers.api_objects import Deployment
from taskqueue_operator.workers.deployment import deployment
from taskqueue_operator.workers.ownership import lost_fields
from tests.cluster.control_plane import ControlPlane

from .conftest import Create

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
    scaled = Deployment.parse(
        await cluster.scale(taskqueue.key, replicas=2, taskqueue=taskqueue.key.name, generation=made.generation)
    )
    await cluster.set_drain_token(taskqueue.key, "1.1", taskqueue=taskqueue.key.name, generation=scaled.generation)

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
