"""A process that lost leadership can read and writes nothing: the guard is called before every write request."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from taskqueue_operator.kube import client
from taskqueue_operator.kube.client import connect
from taskqueue_operator.kube.cluster import KubernetesCluster
from taskqueue_operator.resource.backoff import Backoff
from taskqueue_operator.resource.faults import LeadershipLost
from taskqueue_operator.resource.names import Key
from taskqueue_operator.workers.deployment import deployment
from tests.cluster import ports
from tests.cluster.control_plane import ControlPlane

from .conftest import Create

Write = Callable[[KubernetesCluster, Key, dict[str, Any]], Awaitable[object]]
WRITES: dict[str, Write] = {
    "deployment": lambda cluster, _, manifest: cluster.apply_deployment(manifest),
    "replicas": lambda cluster, key, _: cluster.scale(key, replicas=3, taskqueue=key.name, generation=1),
    "finalizers": lambda cluster, key, _: cluster.set_finalizers(key, ["a/b"], resource_version="1"),
    "status": lambda cluster, key, _: cluster.set_status(key, {"replicas": 3}),
    "event": lambda cluster, key, _: cluster.event(
        {"apiVersion": "taskqueue.dev/v1alpha1", "kind": "TaskQueue", **key._asdict(), "uid": "1"},
        reason="Scaled",
        message="From 0 to 3 workers.",
        warning=False,
    ),
}


def refuse() -> None:
    raise LeadershipLost("not the leader")


@pytest.fixture
async def former_leader(
    control_plane: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[KubernetesCluster]:
    monkeypatch.setenv("KUBECONFIG", str(control_plane.kubeconfig))
    made = KubernetesCluster(await connect(refuse), namespaces=[namespace])
    yield made
    await made.close()


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
async def test_a_process_that_lost_leadership_writes_nothing(
    former_leader: KubernetesCluster, control_plane: ControlPlane, create: Create, write: Write
) -> None:
    taskqueue = create()
    before = everything(control_plane, taskqueue.key.namespace)
    for _ in range(2):  # on a new connection, and on an open one
        with pytest.raises(LeadershipLost):
            await write(former_leader, taskqueue.key, deployment(taskqueue, replicas=1))
        assert len(await former_leader.list_taskqueues()) == 1
    assert everything(control_plane, taskqueue.key.namespace) == before


def everything(plane: ControlPlane, namespace: str) -> str:
    return plane.kubectl("-n", namespace, "get", "taskqueues,deployments,events", "--output=json")


async def test_the_guard_is_called_before_every_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "BACKOFF", Backoff(0.001, 5.0))
    asked: list[str] = []

    async def unavailable(request: web.Request) -> web.Response:
        asked.append(request.method)
        return web.json_response({}, status=503)

    def once() -> None:
        if asked:
            raise LeadershipLost("not the leader")

    runner = web.AppRunner(web.Application())
    runner.app.router.add_route("*", "/{tail:.*}", unavailable)
    await runner.setup()
    (port,) = ports.free(1)
    await web.TCPSite(runner, "127.0.0.1", port).start()
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path, f"http://127.0.0.1:{port}")))
    cluster = KubernetesCluster(await connect(once))
    with pytest.raises(LeadershipLost):
        await cluster.set_status(Key("media", "thumbnails"), {})
    assert asked == ["PATCH"]
    await cluster.close()
    await runner.cleanup()


def kubeconfig(directory: Path, server: str) -> Path:
    file = directory / "kubeconfig"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "it",
        "clusters": [{"name": "it", "cluster": {"server": server}}],
        "users": [{"name": "it", "user": {}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
    }
    file.write_text(json.dumps(config))
    return file
