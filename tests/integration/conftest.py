"""The real parts that integration tests stand on: one API server with controllers and one broker for each process.

A test that is marked `every_version` runs once with a broker of each version of RabbitMQ. Tests of other processes have
others, so no name of a namespace or a vhost has to be unique among processes.
"""

import asyncio
from collections.abc import Callable, Collection, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import pytest

from tests.cluster import build, debian
from tests.cluster.broker import Broker
from tests.cluster.control_plane import ControlPlane
from tests.cluster.debian import NEWEST_RABBITMQ
from tests.cluster.prerequisites import MissingError
from tests.cluster.store_server import PostgreSQL, Redis
from tests.distribution import broker_version

ROOT = Path(__file__).parents[2]

# Otherwise pytest-asyncio asks for the previous current loop, and so makes one that is never closed.
asyncio.set_event_loop(None)

Part = ControlPlane | Broker


class Parts:
    """The API server and the brokers of this process, each started with the first test that needs it."""

    def __init__(self, directories: pytest.TempPathFactory) -> None:
        self._directories = directories
        self._started: dict[str, Future[Part]] = {}
        self._pool = ThreadPoolExecutor()

    def start(self, fixtures: Collection[str], version: str = NEWEST_RABBITMQ) -> None:
        """Begin to start the servers that a test with these fixtures needs, at once."""
        if "control_plane" in fixtures:
            self._start("control_plane", ControlPlane.start)
        if "broker" in fixtures:
            self._start(version, partial(Broker.start, version=version))

    def control_plane(self) -> ControlPlane:
        """Wait for the API server."""
        plane = self._started["control_plane"].result()
        assert isinstance(plane, ControlPlane)
        return plane

    def broker(self, version: str) -> Broker:
        """Wait for the broker of a version."""
        broker = self._started[version].result()
        assert isinstance(broker, Broker)
        return broker

    def _start(self, name: str, start: Callable[[Path], Part]) -> None:
        if name not in self._started:
            self._started[name] = self._pool.submit(start, self._directories.mktemp(name))

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
    _parts.start(request.fixturenames)
    return _parts.control_plane()


@pytest.fixture(scope="session")
def installed(control_plane: ControlPlane) -> ControlPlane:
    """An API server that knows TaskQueues."""
    control_plane.install_crd()
    return control_plane


@pytest.fixture(scope="session")
def rabbitmq_version(request: pytest.FixtureRequest) -> str:
    """The version of the broker: the newest one, unless the test is marked `every_version`."""
    return str(getattr(request, "param", NEWEST_RABBITMQ))


@pytest.fixture(scope="session")
def broker(request: pytest.FixtureRequest, rabbitmq_version: str, _parts: Parts) -> Broker:
    _parts.start(request.fixturenames, rabbitmq_version)
    return _parts.broker(rabbitmq_version)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with Redis.start(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgreSQL]:
    with PostgreSQL.start(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Build what is built once on a machine before the time of the test begins."""
    fixtures = getattr(item, "fixturenames", ())
    # The test meets the failure again, and reports it.
    with suppress(MissingError, RuntimeError, OSError):
        if "control_plane" in fixtures:
            build.program("kube-apiserver")
        if "broker" in fixtures or "three_nodes" in fixtures:
            debian.rabbitmq(broker_version(item))
        if "store_server" in fixtures or "redis_server" in fixtures or "postgres_server" in fixtures:
            debian.stores()
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
        report.sections += [
            (name, used[name].processes.tails()) for name in ("control_plane", "broker") if name in used
        ]
    return report
