"""What demo, benchmarks and end-to-end tests play on: a real cluster, RabbitMQ, the operator installed by Helm."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import cluster as the_cluster
from tests.cluster import images
from tests.cluster.lane import Cluster
from tests.cluster.progress import step

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/taskqueue-operator"
SYSTEM = "taskqueue-system"
BROKER = "rabbitmq"
RELEASE = "taskqueue-operator"
CRD = "taskqueues.taskqueue.dev"


@dataclass
class Loan:
    """A cluster that is lent; `keep` leaves it as it is at the end."""

    cluster: Cluster
    keep: bool = False


@contextmanager
def borrow(*namespaces: str) -> Iterator[Loan]:
    """Lend the cluster of this machine, and leave it as it was found: gone, or up without what was made in it.

    Args:
        namespaces: Those that the borrower makes, besides the broker's and the operator's.
    """
    loan = Loan(the_cluster())
    before = _found(loan.cluster)
    try:
        loan.cluster.up()
        yield loan
    except Exception:
        print(loan.cluster.diagnosis(), file=sys.stderr)
        raise
    finally:
        if not loan.keep:
            _give_back(loan.cluster, {SYSTEM, BROKER, *namespaces}, before)


def _found(cluster: Cluster) -> frozenset[str] | None:
    """List the namespaces there are, and our CRD; None if there is no cluster yet."""
    kinds = "namespaces,customresourcedefinitions"
    try:
        names = cluster.kubectl("get", kinds, "--output=name", "--request-timeout=5s")
    except (RuntimeError, OSError):
        return None
    return frozenset(name.rpartition("/")[2] for name in names.split())


def _give_back(cluster: Cluster, made: set[str], before: frozenset[str] | None) -> None:
    """Remove what was not there before: TaskQueues first, while the operator can take them down, then all else."""
    if before is None:
        cluster.down()
        return
    fresh = sorted(made - before)
    if CRD not in before:
        cluster.kubectl("delete", "taskqueues", "--all", "--all-namespaces", "--timeout=120s", check=False)
    if SYSTEM in fresh:
        cluster.helm("uninstall", RELEASE, "--namespace", SYSTEM, "--ignore-not-found", "--wait")
    if CRD not in before:
        cluster.kubectl("delete", "crd", CRD, "--ignore-not-found", "--timeout=60s")
    if fresh:
        cluster.kubectl("delete", "namespace", *fresh, "--ignore-not-found", "--timeout=180s")
    step("what was installed is gone")


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
