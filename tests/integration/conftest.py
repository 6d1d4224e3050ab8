"""The real parts that integration tests stand on: one API server with controllers, one broker, per session."""

import asyncio
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cluster.broker import Broker
from tests.cluster.control_plane import ControlPlane

ROOT = Path(__file__).parents[2]

# Otherwise pytest-asyncio, asking for the loop that was current before, makes one that nobody closes.
asyncio.set_event_loop(None)

_STARTS: Mapping[str, Callable[[Path], ControlPlane | Broker]] = {
    "control_plane": ControlPlane.start,
    "broker": Broker.start,
}


@pytest.fixture(scope="session")
def _stands(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, "Future[ControlPlane | Broker]"]]:
    """What the chosen tests ask for, all starting at once."""
    asked = {name for item in request.session.items for name in getattr(item, "fixturenames", ())}
    with ThreadPoolExecutor() as pool, ExitStack() as stack:
        starting = {
            name: pool.submit(start, tmp_path_factory.mktemp(name)) for name, start in _STARTS.items() if name in asked
        }
        yield starting
        for future in starting.values():
            if not future.exception():
                stack.enter_context(future.result())


@pytest.fixture(scope="session")
def control_plane(_stands: Mapping[str, "Future[ControlPlane | Broker]"]) -> ControlPlane:
    plane = _stands["control_plane"].result()
    assert isinstance(plane, ControlPlane)
    return plane


@pytest.fixture(scope="session")
def installed(control_plane: ControlPlane) -> ControlPlane:
    """An API server that knows TaskQueues."""
    control_plane.kubectl("apply", "--server-side", "-f", str(ROOT / "crds/taskqueues.yaml"))
    control_plane.kubectl("wait", "--for=condition=Established", "crd/taskqueues.taskqueue.dev", "--timeout=30s")
    return control_plane


@pytest.fixture(scope="session")
def broker(_stands: Mapping[str, "Future[ControlPlane | Broker]"]) -> Broker:
    stand = _stands["broker"].result()
    assert isinstance(stand, Broker)
    return stand


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
