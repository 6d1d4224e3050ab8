"""Fixtures and hooks of every test run."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.distribution import distribute
from tests.e2e.environment import EarlyStart


@pytest.fixture(scope="session", autouse=True)
def _loop_for_synchronous_tests() -> Iterator[None]:
    """A plugin asks for the current event loop in synchronous tests too; a loop that is never closed is an error."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the groups in the same hook
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In a run with several processes, say what belongs together and what begins first."""
    if hasattr(config, "workerinput"):
        distribute(items)


_E2E = Path(__file__).parent / "e2e"
_EARLY_START = pytest.StashKey[EarlyStart]()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Begin to start the cluster at once, while tests run that do not need it; only beside several processes."""
    config = session.config
    if config.pluginmanager.hasplugin("dsession") and not config.option.collectonly and _includes_e2e(config):
        config.stash[_EARLY_START] = EarlyStart()
        config.stash[_EARLY_START].begin()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Leave the cluster as it was found, before the summary is printed."""
    if early_start := session.config.stash.get(_EARLY_START, None):
        early_start.end()


def _includes_e2e(config: pytest.Config) -> bool:
    if config.option.keyword or config.option.markexpr:
        return False
    chosen = [(config.invocation_params.dir / argument.partition("::")[0]).resolve() for argument in config.args]
    return any(path == _E2E or path in _E2E.parents or _E2E in path.parents for path in chosen)


@pytest.fixture
def repetition(request: pytest.FixtureRequest) -> int:
    """Number the runs of a test of a fault, which hits another moment each time."""
    number: int = request.param
    return number


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """With TASKQUEUE_DEEP=1, run tests of faults five times."""
    if os.environ.get("TASKQUEUE_DEEP") and metafunc.definition.get_closest_marker("fault"):
        metafunc.fixturenames.append("repetition")
        metafunc.parametrize("repetition", range(1, 6), indirect=True)
