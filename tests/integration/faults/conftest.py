"""Three nodes, one operator and one TaskQueue for the package; each test finds all of it intact, with a backlog."""

from collections.abc import Iterator

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.cluster.three_node_broker import ThreeNodeBroker
from tests.integration.harness.fault_scenario import WORKERS, FaultScenario
from tests.integration.harness.operator_process import OperatorProcess, attached_log, started_operator


@pytest.fixture(scope="package")
def three_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThreeNodeBroker]:
    with ThreeNodeBroker.start(tmp_path_factory.mktemp("three-nodes")) as started:
        yield started


@pytest.fixture(scope="package")
def package_operator(installed: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    with started_operator(installed.kubeconfig, tmp_path_factory.mktemp("operator")) as operator:
        yield operator


@pytest.fixture
def operator(package_operator: OperatorProcess, request: pytest.FixtureRequest) -> Iterator[OperatorProcess]:
    """The operator of the package; its log is shown when the test fails."""
    assert package_operator.is_ready()
    with attached_log(package_operator, request.node):
        yield package_operator


@pytest.fixture(scope="package")
def package_scenario(
    package_operator: OperatorProcess, installed: ControlPlane, three_nodes: ThreeNodeBroker
) -> Iterator[FaultScenario]:
    assert package_operator.is_ready()
    scenario = FaultScenario(installed, three_nodes)
    scenario.start()
    yield scenario
    scenario.close()


@pytest.fixture
def scenario(
    package_scenario: FaultScenario,
    operator: OperatorProcess,  # noqa: ARG001 - its log is shown
    three_nodes: ThreeNodeBroker,
) -> Iterator[FaultScenario]:
    """Twenty workers and a backlog for twenty; before, the operator has shown that it removes workers."""
    package_scenario.set_backlog(WORKERS)
    yield package_scenario
    three_nodes.restore()
    package_scenario.leader(asked=0)
