"""What every test run needs, whatever is in it."""

import asyncio
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
