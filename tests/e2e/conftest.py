"""One real cluster, one RabbitMQ and one operator for all tests; each test has a tenant of its own."""

import asyncio
import re
from collections.abc import Generator, Iterator
from uuid import uuid4

import pytest

from tests.cluster import Cluster
from tests.cluster.installation import RELEASE, SYSTEM, install_operator
from tests.cluster.loan import BROKER, borrow
from tests.e2e.application import TASKQUEUE_WORKER, Application
from tests.e2e.cluster_broker import ClusterBroker, connect
from tests.e2e.installed_operator import InstalledOperator
from tests.e2e.tenant import Tenant

# Otherwise pytest-asyncio, which asks for the current loop beforehand, creates one that it does not close.
asyncio.set_event_loop(None)


@pytest.fixture(scope="session")
def real_cluster() -> Iterator[Cluster]:
    """The cluster of this machine; it is left as it was found: up, or gone."""
    with borrow() as loan:
        yield loan.cluster


@pytest.fixture(scope="session")
def broker(real_cluster: Cluster) -> Iterator[ClusterBroker]:
    real_cluster.rabbitmq(BROKER)
    with connect(real_cluster, BROKER) as broker:
        yield broker


@pytest.fixture
def own_broker(real_cluster: Cluster) -> Iterator[ClusterBroker]:
    """A broker that the test may stop: no other test uses it."""
    namespace = f"broker-{uuid4().hex[:6]}"
    real_cluster.rabbitmq(namespace)
    with connect(real_cluster, namespace) as broker:
        yield broker
    real_cluster.kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.fixture(scope="session")
def operator(real_cluster: Cluster) -> InstalledOperator:
    install_operator(real_cluster)
    return InstalledOperator(real_cluster)


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
