"""An operator for one tenant, without any right outside of the tenant's namespace."""

import json
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.cluster.installation import RELEASE, SYSTEM, install_operator
from tests.cluster.provider import Cluster
from tests.e2e.installed_operator import InstalledOperator
from tests.e2e.tenant import Tenant

NAMESPACED = "tenants-taskqueue-operator"
"""The release, its namespace and its ServiceAccount."""


@pytest.fixture
def _no_cluster_operator(
    real_cluster: Cluster,
    operator: InstalledOperator,  # noqa: ARG001 - it is the one that is stopped
) -> Iterator[None]:
    """Stop the operator of all tenants: both operators would act on the tenant's TaskQueues."""
    pod_of = f"--selector=app.kubernetes.io/instance={RELEASE}"
    deployment = (f"deployment/{RELEASE}", f"--namespace={SYSTEM}")
    real_cluster.kubectl("scale", *deployment, "--replicas=0")
    try:
        real_cluster.kubectl("wait", "pod", pod_of, f"--namespace={SYSTEM}", "--for=delete", "--timeout=180s")
        yield
    finally:
        real_cluster.kubectl("scale", *deployment, "--replicas=1")
        real_cluster.kubectl("rollout", "status", *deployment, "--timeout=120s")


@pytest.fixture
def _namespaced_operator(real_cluster: Cluster, tenant: Tenant, _no_cluster_operator: None) -> Iterator[None]:
    namespaces = f"namespaces={json.dumps([tenant.namespace])}"
    values = (namespaces, 'installation="tenant"', "crds.install=false", "aggregateRoles=false")
    try:
        install_operator(real_cluster, release=NAMESPACED, namespace=NAMESPACED, values=values)
        yield
    finally:
        tenant.kubectl("delete", "taskqueues", "--all", "--timeout=120s")
        real_cluster.helm("uninstall", NAMESPACED, "--namespace", NAMESPACED, "--ignore-not-found", "--wait")
        real_cluster.kubectl("delete", "namespace", NAMESPACED, "--ignore-not-found", "--wait=false")


@pytest.mark.exclusive
@pytest.mark.usefixtures("_namespaced_operator")
def test_an_operator_with_rights_in_one_namespace_serves_that_namespace(real_cluster: Cluster, tenant: Tenant) -> None:
    assert can_i(real_cluster, "get", "secrets", f"--namespace={tenant.namespace}") == "yes"
    assert can_i(real_cluster, "get", "secrets", f"--namespace={SYSTEM}") == "no"
    assert can_i(real_cluster, "list", "taskqueues.taskqueue.dev", "--all-namespaces") == "no"

    tenant.apply(deletion="Delete")
    tenant.until_ready()
    tasks = Counter(tenant.publish(50, seconds=0.2))
    tenant.until_replicas(lambda replicas: replicas > 0, "the scale-out has begun")
    tenant.until_scaled_to_zero()
    assert tenant.receipts("done") == tasks
    tenant.delete()
    tenant.until_deleted()
    assert not tenant.queues()


def can_i(cluster: Cluster, verb: str, resource: str, scope: str) -> str:
    """Return the API server's answer for the ServiceAccount of the namespaced operator: yes or no."""
    account = f"--as=system:serviceaccount:{NAMESPACED}:{NAMESPACED}"
    return cluster.kubectl("auth", "can-i", verb, resource, scope, account, check=False).strip()
