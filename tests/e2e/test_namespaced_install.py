"""An operator for one team, without any right outside of the team's namespace."""

import json
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.cluster.installation import RELEASE, SYSTEM, install_operator
from tests.cluster.lane import Cluster
from tests.e2e.operator import Operator
from tests.e2e.team import Team

OWN = "teams-taskqueue-operator"
"""The release, its namespace and its ServiceAccount."""


@pytest.fixture
def _no_other_operator(real_cluster: Cluster, operator: Operator) -> Iterator[None]:  # noqa: ARG001 - it is the other
    """The one for the whole cluster sleeps meanwhile: the two would both act on the team's TaskQueues."""
    pod_of = f"--selector=app.kubernetes.io/instance={RELEASE}"
    deployment = (f"deployment/{RELEASE}", f"--namespace={SYSTEM}")
    real_cluster.kubectl("scale", *deployment, "--replicas=0")
    try:
        real_cluster.kubectl("wait", "pod", pod_of, f"--namespace={SYSTEM}", "--for=delete", "--timeout=60s")
        yield
    finally:
        real_cluster.kubectl("scale", *deployment, "--replicas=1")
        real_cluster.kubectl("rollout", "status", *deployment, "--timeout=120s")


@pytest.fixture
def _operator_of_the_team(real_cluster: Cluster, team: Team, _no_other_operator: None) -> Iterator[None]:
    namespaces = f"namespaces={json.dumps([team.namespace])}"
    values = (namespaces, 'installation="team"', "crds.install=false", "aggregateRoles=false")
    try:
        install_operator(real_cluster, release=OWN, namespace=OWN, values=values)
        yield
    finally:
        team.kubectl("delete", "taskqueues", "--all", "--timeout=120s")
        real_cluster.helm("uninstall", OWN, "--namespace", OWN, "--ignore-not-found", "--wait")
        real_cluster.kubectl("delete", "namespace", OWN, "--ignore-not-found", "--timeout=120s")


@pytest.mark.usefixtures("_operator_of_the_team")
def test_an_operator_with_rights_in_one_namespace_serves_it_like_any_other(real_cluster: Cluster, team: Team) -> None:
    assert may(real_cluster, "get", "secrets", team.namespace) == "yes"
    assert may(real_cluster, "get", "secrets", SYSTEM) == "no"
    assert may(real_cluster, "list", "taskqueues.taskqueue.dev", "--all-namespaces") == "no"

    team.apply(deletion="Delete")
    team.until_ready()
    tasks = Counter(team.publish(50, seconds=0.2))
    team.until_replicas(lambda replicas: replicas > 0, "workers are asked for")
    team.until_asleep()
    assert team.receipts("done") == tasks
    team.delete()
    team.until_gone()
    assert not team.queues()


def may(cluster: Cluster, verb: str, what: str, where: str) -> str:
    """Ask the API server whether the operator of the team may do that."""
    scope = where if where.startswith("--") else f"--namespace={where}"
    who = f"--as=system:serviceaccount:{OWN}:{OWN}"
    return cluster.kubectl("auth", "can-i", verb, what, scope, who, check=False).strip()
