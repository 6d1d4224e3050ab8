"""One operator for the package, a stage for each test."""

from collections.abc import Iterator

import pytest

from tests.cluster.broker import Broker
from tests.cluster.control_plane import ControlPlane

from .stage import Operator, Stage


@pytest.fixture(scope="package")
def running(installed: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """The operator for this package alone: elsewhere nobody expects one to act on what tests write."""
    process = Operator(installed.kubeconfig, tmp_path_factory.mktemp("operator"))
    process.start()
    yield process
    assert process.stop() == 0, process.log.read_text()[-3000:]


@pytest.fixture
def operator(running: Operator, request: pytest.FixtureRequest) -> Iterator[Operator]:
    """The session's operator; its log is shown when the test fails."""
    before = running.log.stat().st_size
    yield running
    with running.log.open() as log:
        log.seek(before)
        request.node.add_report_section("call", "operator", log.read()[-20000:])


@pytest.fixture
def stage(operator: Operator, installed: ControlPlane, broker: Broker) -> Iterator[Stage]:
    assert operator.is_ready()
    team = Stage(installed, broker)
    yield team
    team.close()
