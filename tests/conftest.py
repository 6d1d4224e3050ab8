"""What every test run needs, whatever is in it."""

import asyncio
import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _loop_for_synchronous_tests() -> Iterator[None]:
    """A plugin asks for the current event loop in synchronous tests too; one that nobody closes is an error."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


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
