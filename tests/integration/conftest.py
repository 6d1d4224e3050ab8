"""The real parts that integration tests stand on: one API server with controllers and one broker for each process.

Tests of other processes have others, so no name of a namespace or a vhost has to be unique among processes.
"""

import asyncio
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.cluster import build, debian
from tests.cluster.broker import Broker
from tests.cluster.control_plane import ControlPlane
from tests.cluster.prerequisites import MissingError

ROOT = Path(__file__).parents[2]

# Otherwise pytest-asyncio asks for the previous current loop, and so makes one that is never closed.
asyncio.set_event_loop(None)

_STARTS: Mapping[str, Callable[[Path], ControlPlane | Broker]] = {
    "control_plane": ControlPlane.start,
    "broker": Broker.start,
}


class Parts:
    """The API server and the broker of this process, each started with the first test that needs it."""

    def __init__(self, directories: pytest.TempPathFactory) -> None:
        self._directories = directories
        self._started: dict[str, Future[ControlPlane | Broker]] = {}
        self._pool = ThreadPoolExecutor()

    def start(self, fixtures: Collection[str]) -> Mapping[str, "Future[ControlPlane | Broker]"]:
        """Begin to start the servers that a test with these fixtures needs, at once, and return all started ones."""
        for name in _STARTS.keys() & set(fixtures) - self._started.keys():
            self._started[name] = self._pool.submit(_STARTS[name], self._directories.mktemp(name))
        return self._started

    def close(self) -> None:
        """Stop them."""
        with self._pool, ExitStack() as stack:
            for future in self._started.values():
                if not future.exception():
                    stack.enter_context(future.result())


@pytest.fixture(scope="session")
def _parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    parts = Parts(tmp_path_factory)
    yield parts
    parts.close()


@pytest.fixture(scope="session")
def control_plane(request: pytest.FixtureRequest, _parts: Parts) -> ControlPlane:
    plane = _parts.start(request.fixturenames)["control_plane"].result()
    assert isinstance(plane, ControlPlane)
    return plane


@pytest.fixture(scope="session")
def installed(control_plane: ControlPlane) -> ControlPlane:
    """An API server that knows TaskQueues."""
    control_plane.kubectl("apply", "--server-side", "-f", str(ROOT / "crds/taskqueues.yaml"))
    control_plane.kubectl("wait", "--for=condition=Established", "crd/taskqueues.taskqueue.dev", "--timeout=30s")
    return control_plane


@pytest.fixture(scope="session")
def broker(request: pytest.FixtureRequest, _parts: Parts) -> Broker:
    broker = _parts.start(request.fixturenames)["broker"].result()
    assert isinstance(broker, Broker)
    return broker


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Build what is built once on a machine before the time of the test begins."""
    fixtures = getattr(item, "fixturenames", ())
    # The test meets the failure again, and reports it.
    with suppress(MissingError, RuntimeError, OSError):
        if "control_plane" in fixtures:
            build.program("kube-apiserver")
        if "broker" in fixtures or "three_nodes" in fixtures:
            debian.rabbitmq()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
    call: pytest.CallInfo[None],  # noqa: ARG001 - pytest's own signature
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to a failure what the parts last said."""
    report = yield
    if report.failed:
        used = getattr(item, "funcargs", {})
        report.sections += [(name, used[name].processes.tails()) for name in _STARTS if name in used]
    return report
