"""A namespace for each test, on the API server of the session."""

from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count

import pytest

from taskqueue_operator.kube.client import connect
from taskqueue_operator.kube.cluster import KubernetesCluster
from taskqueue_operator.resource.taskqueue import TaskQueue
from tests.cluster.control_plane import ControlPlane

Create = Callable[..., TaskQueue]
NUMBERS = count(1)


@pytest.fixture(scope="session")
def crd(control_plane: ControlPlane) -> None:
    control_plane.install_crd()


@pytest.fixture
def namespace(control_plane: ControlPlane, crd: None) -> Iterator[str]:  # noqa: ARG001  it must be there first
    name = f"kube-{next(NUMBERS)}"
    control_plane.writer.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    control_plane.writer.delete("namespace", None, name)


@pytest.fixture
async def cluster(
    control_plane: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[KubernetesCluster]:
    monkeypatch.setenv("KUBECONFIG", str(control_plane.kubeconfig))
    made = KubernetesCluster(await connect(), namespaces=[namespace])
    yield made
    await made.close()


@pytest.fixture
async def unprivileged(
    control_plane: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[KubernetesCluster]:
    """The same with a user without permissions."""
    monkeypatch.setenv("KUBECONFIG", str(control_plane.identity("stranger")))
    made = KubernetesCluster(await connect(), namespaces=[namespace])
    yield made
    await made.close()


@pytest.fixture
def create(control_plane: ControlPlane, namespace: str) -> Create:
    """A TaskQueue whose spec.worker has these fields, as the API server holds it."""

    def taskqueue(name: str = "thumbnails", **worker: object) -> TaskQueue:
        body = {
            "apiVersion": "taskqueue.dev/v1alpha1",
            "kind": "TaskQueue",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "broker": {"secretRef": {"name": "rabbitmq"}},
                "worker": {"image": "acme/app:1.4"} | worker,
                "scaling": {"maxReplicas": 20},
            },
        }
        return TaskQueue.parse(control_plane.writer.apply(body, namespace))

    return taskqueue
