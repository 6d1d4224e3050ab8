"""What the demo and the end-to-end tests play on: a real cluster, RabbitMQ, and the operator as Helm installs it."""

import json
from pathlib import Path

from tests.cluster import images
from tests.cluster.lane import Cluster
from tests.cluster.progress import step

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/taskqueue-operator"
SYSTEM = "taskqueue-system"
BROKER = "rabbitmq"
RELEASE = "taskqueue-operator"


def namespaces(cluster: Cluster) -> frozenset[str] | None:
    """List the namespaces there are; None if there is no cluster yet."""
    try:
        names = cluster.kubectl("get", "namespaces", "--output=name", "--request-timeout=5s")
    except (RuntimeError, OSError):
        return None
    return frozenset(name.removeprefix("namespace/") for name in names.split())


def create_namespace(cluster: Cluster, name: str) -> None:
    """Make a namespace that takes only pods of the strictest Pod Security Standard."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    cluster.kubectl("apply", "--filename=-", input=json.dumps(manifest))


def create_secret(cluster: Cluster, namespace: str, uri: str) -> None:
    """Give the TaskQueues of a namespace a Secret `rabbitmq`, or replace its URI."""
    metadata = {"name": "rabbitmq", "namespace": namespace}
    manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"uri": uri}}
    cluster.kubectl("apply", "--filename=-", input=json.dumps(manifest))


def install_operator(cluster: Cluster) -> None:
    """Install the chart, or bring the release up to this checkout, and wait until it is ready."""
    tag = images.build("operator")
    cluster.load(tag)
    create_namespace(cluster, SYSTEM)
    # The tag stays the same when the code does not: without a deletion the old image would go on.
    cluster.kubectl("delete", "deployment", RELEASE, f"--namespace={SYSTEM}", "--ignore-not-found")
    repository, _, version = tag.rpartition(":")
    image = ["--set-string", f"image.repository={repository},image.tag={version}"]
    where = ["--namespace", SYSTEM, "--wait", "--timeout", "180s"]
    cluster.helm("upgrade", "--install", RELEASE, str(CHART), *image, *where)
    step(f"operator installed by Helm in namespace {SYSTEM}")


def strike(cluster: Cluster, made: frozenset[str]) -> None:
    """Remove the namespaces that were made here, and with its own the operator: TaskQueues first, then all else."""
    if SYSTEM in made:
        cluster.kubectl("delete", "taskqueues", "--all", "--all-namespaces", "--timeout=120s", check=False)
        cluster.helm("uninstall", RELEASE, "--namespace", SYSTEM, "--ignore-not-found", "--wait")
        cluster.kubectl("delete", "crd", "taskqueues.taskqueue.dev", "--ignore-not-found", "--timeout=60s")
    if made:
        cluster.kubectl("delete", "namespace", *sorted(made), "--ignore-not-found", "--timeout=180s")
    step("what was installed is gone")
