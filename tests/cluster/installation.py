"""The operator as Helm installs it, and what a team needs beside it."""

import json
from collections.abc import Sequence
from pathlib import Path

from tests.cluster import images
from tests.cluster.progress import step
from tests.cluster.provider import Cluster

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/taskqueue-operator"
SYSTEM = "taskqueue-system"
RELEASE = "taskqueue-operator"
CRD = "taskqueues.taskqueue.dev"


def create_namespace(cluster: Cluster, name: str) -> None:
    """Make a namespace that takes only pods of the strictest Pod Security Standard."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    cluster.kubectl("apply", "--filename=-", input=json.dumps(manifest))


def create_secret(cluster: Cluster, namespace: str, uri: str, name: str = "rabbitmq") -> None:
    """Give the TaskQueues of a namespace a Secret, or replace its URI."""
    metadata = {"name": name, "namespace": namespace}
    manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"uri": uri}}
    cluster.kubectl("apply", "--filename=-", input=json.dumps(manifest))


def install_operator(
    cluster: Cluster, *, release: str = RELEASE, namespace: str = SYSTEM, values: Sequence[str] = ()
) -> None:
    """Install the chart, or bring the release up to this checkout, and wait until it is ready.

    Each of the `values` of the chart is `name=<JSON>`.
    """
    tag = images.build("operator")
    cluster.load(tag)
    create_namespace(cluster, namespace)
    # The tag stays the same when the code does not: without a deletion the old image would go on.
    cluster.kubectl("delete", "deployment", release, f"--namespace={namespace}", "--ignore-not-found")
    repository, _, version = tag.rpartition(":")
    image = ["--set-string", f"image.repository={repository},image.tag={version}"]
    chosen = [word for value in values for word in ("--set-json", value)]
    where = ["--namespace", namespace, "--wait", "--timeout", "180s"]
    cluster.helm("upgrade", "--install", release, str(CHART), *image, *chosen, *where)
    step(f"operator installed by Helm in namespace {namespace}")
