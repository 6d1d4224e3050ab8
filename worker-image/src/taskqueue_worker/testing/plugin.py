"""The plugin of pytest (entry point `pytest11`)."""

import pytest

from .tasks import Tasks


@pytest.fixture
def tasks() -> Tasks:
    """Runs the tasks of the modules that the test imports."""
    return Tasks()
