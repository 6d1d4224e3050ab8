"""Three nodes, one operator and one TaskQueue for the package; each test finds all of it whole, with a backlog."""

from collections.abc import Iterator

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.cluster.trio import Trio
from tests.integration.control.stage import Operator

from .scene import WORKERS, Scene


@pytest.fixture(scope="package")
def trio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trio]:
    with Trio.start(tmp_path_factory.mktemp("trio")) as started:
        yield started


@pytest.fixture(scope="package")
def running(installed: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    process = Operator(installed.kubeconfig, tmp_path_factory.mktemp("operator"))
    process.start()
    yield process
    assert process.stop() == 0, process.log.read_text()[-3000:]


@pytest.fixture(scope="package")
def begun(running: Operator, installed: ControlPlane, trio: Trio) -> Iterator[Scene]:
    assert running.is_ready()
    scene = Scene(installed, trio)
    scene.begin()
    yield scene
    scene.close()


@pytest.fixture
def scene(begun: Scene, running: Operator, trio: Trio, request: pytest.FixtureRequest) -> Iterator[Scene]:
    """Twenty workers and work for twenty; what came before has shown that the operator does take workers away."""
    before = running.log.stat().st_size
    begun.level(WORKERS)
    yield begun
    trio.restore()
    begun.leader(asked=0)
    with running.log.open() as log:
        log.seek(before)
        request.node.add_report_section("call", "operator", log.read()[-20000:])
