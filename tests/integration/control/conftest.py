"""One operator for the package, a tenant for each test."""

from collections.abc import Iterator

import pytest

from tests.cluster.broker import Broker
from tests.cluster.control_plane import ControlPlane
from tests.integration.harness.operator_process import OperatorProcess, attached_log, started_operator
from tests.integration.harness.tenant import Tenant


@pytest.fixture(scope="package")
def package_operator(installed: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    """The operator of this package alone: tests of other packages expect that no operator acts on what they write."""
    with started_operator(installed.kubeconfig, tmp_path_factory.mktemp("operator")) as operator:
        yield operator


@pytest.fixture
def operator(package_operator: OperatorProcess, request: pytest.FixtureRequest) -> Iterator[OperatorProcess]:
    """The operator of the package; its log is shown when the test fails."""
    with attached_log(package_operator, request.node):
        yield package_operator


@pytest.fixture
def tenant(operator: OperatorProcess, installed: ControlPlane, broker: Broker) -> Iterator[Tenant]:
    assert operator.is_ready()
    tenant = Tenant(installed, broker)
    yield tenant
    tenant.close()
