"""Leader election: one operator acts, the other is a standby; a change of the leader repeats no work."""

import json
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.cluster.installation import RELEASE, SYSTEM
from tests.cluster.progress import until
from tests.cluster.provider import Cluster
from tests.e2e.installed_operator import InstalledOperator
from tests.e2e.tenant import Tenant

pytestmark = [pytest.mark.fault, pytest.mark.exclusive]

DEPLOYMENT = (f"deployment/{RELEASE}", f"--namespace={SYSTEM}")
SELECTOR = f"--selector=app.kubernetes.io/instance={RELEASE}"


class TwoOperators:
    """The operator's Deployment at two replicas."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def scale(self, replicas: int) -> None:
        """Scale the Deployment, and wait until exactly so many pods exist and are ready."""
        self._cluster.kubectl("scale", *DEPLOYMENT, f"--replicas={replicas}")
        self._cluster.kubectl("rollout", "status", *DEPLOYMENT, "--timeout=120s")
        until(lambda: len(self.pods()) == replicas, f"{replicas} operators", seconds=120, every=0.5)

    def pods(self) -> set[str]:
        """Name all pods, including those that terminate."""
        listed = self._cluster.kubectl("get", "pods", f"--namespace={SYSTEM}", SELECTOR, "--output=json")
        return {pod["metadata"]["name"] for pod in json.loads(listed)["items"]}

    def leader(self) -> str:
        """Name the pod that holds the Lease; empty without a holder."""
        lease = json.loads(self._cluster.kubectl("get", "lease", RELEASE, f"--namespace={SYSTEM}", "--output=json"))
        holder: str = lease["spec"].get("holderIdentity", "")
        return holder.partition("_")[0]

    def delete(self, pod: str) -> None:
        """Delete a pod, and wait until it no longer exists."""
        self._cluster.kubectl("delete", "pod", pod, f"--namespace={SYSTEM}", "--wait=true")

    def restart(self) -> None:
        """Replace all pods, as an upgrade does."""
        self._cluster.kubectl("rollout", "restart", *DEPLOYMENT)
        self._cluster.kubectl("rollout", "status", *DEPLOYMENT, "--timeout=180s")


@pytest.fixture
def operators(
    real_cluster: Cluster,
    operator: InstalledOperator,  # noqa: ARG001 - it is the first of the two
) -> Iterator[TwoOperators]:
    operators = TwoOperators(real_cluster)
    operators.scale(2)
    yield operators
    operators.scale(1)


def test_the_standby_continues_the_work_when_the_pod_of_the_leader_is_deleted(
    tenant: Tenant, operators: TwoOperators
) -> None:
    tenant.apply()
    tenant.until_ready()
    tasks = Counter(tenant.publish(40, seconds=0.5))
    tenant.until_replicas(lambda replicas: replicas > 0, "the scale-out has begun")
    deleted = operators.leader()
    operators.delete(deleted)
    until(lambda: operators.leader() in operators.pods() - {deleted}, "another pod leads", seconds=180, every=0.2)
    tenant.until_scaled_to_zero()
    assert tenant.receipts("done") == tasks
    assert tenant.receipts("started") == tasks


def test_a_rollout_of_the_operators_interrupts_no_task(tenant: Tenant, operators: TwoOperators) -> None:
    tenant.apply()
    tenant.until_ready()
    tasks = Counter(tenant.publish(40, seconds=0.5))
    before = operators.pods()
    operators.restart()
    until(lambda: operators.leader() in operators.pods() - before, "a new pod leads", seconds=180, every=0.2)
    tenant.until_scaled_to_zero()
    assert tenant.receipts("done") == tasks
    assert tenant.receipts("started") == tasks
