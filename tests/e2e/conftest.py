"""One real cluster, one RabbitMQ and one operator for all tests; each test has a tenant of its own.

Several processes run these tests at once. A test that disturbs the operator or the broker of all tests is marked
`exclusive`: no other end-to-end test runs meanwhile, in any process. All other tests run side by side.
"""

import asyncio
import re
from collections.abc import Generator, Iterator
from uuid import uuid4

import pytest

from tests.cluster import Cluster
from tests.cluster.cluster_lease import BROKER, ClusterLease, lease_cluster, wait_until_up
from tests.cluster.installation import RELEASE, SYSTEM
from tests.e2e import environment
from tests.e2e.application import TASKQUEUE_WORKER, Application
from tests.e2e.cluster_broker import ClusterBroker, connect
from tests.e2e.installed_operator import InstalledOperator
from tests.e2e.tenant import Tenant

# Otherwise pytest-asyncio, which asks for the current loop beforehand, creates one that it does not close.
asyncio.set_event_loop(None)


_access = environment.Access()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """Wait for the cluster and for a conflicting test before the time limit of this test begins."""
    wait_until_up()
    with _access.during(exclusive=_is_exclusive(item), next_exclusive=nextitem is not None and _is_exclusive(nextitem)):
        return (yield)


def _is_exclusive(item: pytest.Item) -> bool:
    return item.get_closest_marker("exclusive") is not None


@pytest.fixture(scope="session")
def lease() -> Iterator[ClusterLease]:
    """The cluster of this machine; the last process of the run leaves it as the first one found it: up, or gone."""
    with lease_cluster() as lease:
        yield lease


@pytest.fixture(scope="session")
def real_cluster(lease: ClusterLease) -> Cluster:
    return lease.cluster


@pytest.fixture(scope="session")
def broker(lease: ClusterLease) -> Iterator[ClusterBroker]:
    environment.start_broker(lease)
    with connect(lease.cluster, BROKER) as broker:
        yield broker


@pytest.fixture
def own_broker(real_cluster: Cluster) -> Iterator[ClusterBroker]:
    """A broker that the test may stop: no other test uses it."""
    namespace = f"broker-{uuid4().hex[:6]}"
    try:
        real_cluster.rabbitmq(namespace)
        with connect(real_cluster, namespace) as broker:
            yield broker
    finally:
        real_cluster.kubectl("delete", "namespace", namespace, "--ignore-not-found", "--wait=false")


@pytest.fixture(scope="session")
def operator(lease: ClusterLease) -> InstalledOperator:
    environment.start_operator(lease)
    return InstalledOperator(lease.cluster)


@pytest.fixture
def fresh_operator(operator: InstalledOperator) -> InstalledOperator:
    """The operator in a new pod: the kubelet restarts a container later and later, also one that a test kills."""
    if operator.restarts():
        operator.replace_pod()
    return operator


@pytest.fixture
def application() -> Application:
    """What the workers of the tenant run."""
    return TASKQUEUE_WORKER


@pytest.fixture
def tenant(
    request: pytest.FixtureRequest,
    operator: InstalledOperator,  # noqa: ARG001 - it acts on the tenant's TaskQueue
    broker: ClusterBroker,
    application: Application,
) -> Iterator[Tenant]:
    tenant = _tenant(request, broker, application)
    tenant.set_up()
    yield tenant
    tenant.tear_down()


@pytest.fixture
def tenant_of_own_broker(
    request: pytest.FixtureRequest,
    operator: InstalledOperator,  # noqa: ARG001 - it acts on the tenant's TaskQueue
    own_broker: ClusterBroker,
    application: Application,
) -> Iterator[Tenant]:
    tenant = _tenant(request, own_broker, application)
    tenant.set_up()
    yield tenant
    tenant.tear_down()


def _tenant(request: pytest.FixtureRequest, broker: ClusterBroker, application: Application) -> Tenant:
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower())[:40].strip("-")
    return Tenant(broker.cluster, broker.api, broker.address, f"{name}-{uuid4().hex[:6]}", application)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
    call: pytest.CallInfo[None],  # noqa: ARG001 - pytest's own signature
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the log of the operator and a diagnosis of the cluster to a failure."""
    report = yield
    cluster = getattr(item, "funcargs", {}).get("real_cluster")
    if report.failed and cluster is not None:
        operator_log = ("logs", f"--namespace={SYSTEM}", f"deployment/{RELEASE}", "--tail=200")
        report.sections += [("operator", cluster.kubectl(*operator_log, check=False)), ("cluster", cluster.diagnosis())]
    return report
