"""Fixtures of the controller and of what surrounds it."""

from collections.abc import AsyncIterator

import pytest

from taskqueue_operator.control.clock import loop_clock
from taskqueue_operator.topology.objects import Queue, Topology

from .control_harness import ControlHarness, running_harness
from .fake_broker import START, FakeBroker


@pytest.fixture
async def harness() -> AsyncIterator[ControlHarness]:
    async with running_harness() as running:
        yield running


@pytest.fixture
async def broker() -> FakeBroker:
    """Hold the queues `jobs` and `more`."""
    broker = FakeBroker(loop_clock(START))
    broker.topology_ = Topology(queues={name: Queue(name) for name in ("jobs", "more")})
    return broker
