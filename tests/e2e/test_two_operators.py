"""One acts, the other stands by: whichever goes, and however, the work goes on and nothing is done twice."""

import json
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.cluster.installation import RELEASE, SYSTEM
from tests.cluster.lane import Cluster
from tests.cluster.progress import until
from tests.e2e.operator import Operator
from tests.e2e.team import Team

DEPLOYMENT = (f"deployment/{RELEASE}", f"--namespace={SYSTEM}")
LABEL = f"--selector=app.kubernetes.io/instance={RELEASE}"


class Pair:
    """Two operators of one release."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def scale(self, replicas: int) -> None:
        """Have so many, all of them ready and no other left."""
        self._cluster.kubectl("scale", *DEPLOYMENT, f"--replicas={replicas}")
        self._cluster.kubectl("rollout", "status", *DEPLOYMENT, "--timeout=120s")
        until(lambda: len(self.pods()) == replicas, f"{replicas} operators", seconds=120, every=0.5)

    def pods(self) -> set[str]:
        """Name all that there are, and be it on their way out."""
        listed = self._cluster.kubectl("get", "pods", f"--namespace={SYSTEM}", LABEL, "--output=json")
        return {pod["metadata"]["name"] for pod in json.loads(listed)["items"]}

    def leader(self) -> str:
        """Name the pod that leads; empty when none does."""
        lease = json.loads(self._cluster.kubectl("get", "lease", RELEASE, f"--namespace={SYSTEM}", "--output=json"))
        holder: str = lease["spec"].get("holderIdentity", "")
        return holder.partition("_")[0]

    def delete(self, pod: str) -> None:
        """Delete a pod, and wait until it has gone."""
        self._cluster.kubectl("delete", "pod", pod, f"--namespace={SYSTEM}", "--wait=true")

    def roll(self) -> None:
        """Replace all of them, as an upgrade does."""
        self._cluster.kubectl("rollout", "restart", *DEPLOYMENT)
        self._cluster.kubectl("rollout", "status", *DEPLOYMENT, "--timeout=180s")


@pytest.fixture
def pair(real_cluster: Cluster, operator: Operator) -> Iterator[Pair]:  # noqa: ARG001  it is the first of them
    made = Pair(real_cluster)
    made.scale(2)
    yield made
    made.scale(1)


@pytest.mark.fault
def test_when_the_pod_of_the_leader_goes_the_other_one_goes_on(team: Team, pair: Pair) -> None:
    team.apply()
    team.until_ready()
    tasks = Counter(team.publish(40, seconds=0.5))
    team.until_replicas(lambda replicas: replicas > 0, "workers are asked for")
    gone = pair.leader()
    pair.delete(gone)
    until(lambda: pair.leader() in pair.pods() - {gone}, "another one leads", seconds=30, every=0.2)
    team.until_asleep()
    assert team.receipts("done") == tasks
    assert team.receipts("started") == tasks


@pytest.mark.fault
def test_a_rollout_of_the_operators_is_none_of_the_workers(team: Team, pair: Pair) -> None:
    team.apply()
    team.until_ready()
    tasks = Counter(team.publish(40, seconds=0.5))
    before = pair.pods()
    pair.roll()
    until(lambda: pair.leader() in pair.pods() - before, "a new one leads", seconds=30, every=0.2)
    team.until_asleep()
    assert team.receipts("done") == tasks
    assert team.receipts("started") == tasks
