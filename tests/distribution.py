"""How the tests of one run are distributed over its processes.

Each process runs one test at a time. For integration tests it has an API server and a broker of its own, started with
the first test that needs them: names do not collide, an operator that watches the whole API server meets only the test
it was started for, and a test may stop the broker. Of one process only one cluster can be made, so all processes share
the one of the end-to-end tests: `tests/e2e/conftest.py` says how.

A group is what one process runs without a break. Groups begin in the order given here: those first that take longest,
so that none of them begins when all others have ended; end-to-end tests last, when their cluster has had time to start.
Tests with an older broker are one group, so that one process starts those brokers.
"""

from pathlib import Path

import pytest
from _pytest.nodeid import NodeId

from tests.cluster.debian import NEWEST_RABBITMQ

EXCLUSIVE = "exclusive"
"""The group of the tests that need the cluster for themselves: two of them would wait for each other."""
OLDER_BROKERS = "integration.older_brokers"
"""The group of the tests with an older broker."""

_ORDER = (
    EXCLUSIVE,
    OLDER_BROKERS,
    "integration.faults",
    "integration.control",
    "integration.worker.test_drain",
    "unit",
    "integration",
    "e2e",
)
_TOGETHER = frozenset({"integration.chart", "integration.faults", "integration.kube", "integration.resource"})
"""Packages whose tests would cost more in API servers, and in brokers of three nodes, than their distribution gains."""
_TESTS = Path(__file__).parent


def group(item: pytest.Item) -> str:
    """Return what the test belongs to: its module or package, but itself if it is an end-to-end test or slow."""
    if item.get_closest_marker("exclusive"):
        return EXCLUSIVE
    if broker_version(item) != NEWEST_RABBITMQ:
        return OLDER_BROKERS
    module = ".".join(item.path.relative_to(_TESTS).with_suffix("").parts)
    if module.startswith("e2e.") or item.get_closest_marker("slow"):
        return f"{module}.{item.name}"
    package = module.rpartition(".")[0]
    return package if package in _TOGETHER else module


def broker_version(item: pytest.Item) -> str:
    """Return the version of RabbitMQ with which the test runs, if it needs a broker."""
    callspec = getattr(item, "callspec", None)
    return str(callspec.params.get("rabbitmq_version", NEWEST_RABBITMQ)) if callspec is not None else NEWEST_RABBITMQ


def distribute(items: list[pytest.Item]) -> None:
    """Mark each test with its group, and put the tests into the order in which groups begin."""
    for item in items:
        # pytest-xdist 3.8 appends the group of a marker to an attribute that pytest 9.2 does not read any more.
        item._id = NodeId.parse(f"{item.nodeid}@{group(item)}")
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> tuple[int, bool]:
    name = group(item)
    place = next(place for place, prefix in enumerate(_ORDER) if name == prefix or name.startswith(f"{prefix}."))
    is_short = item.get_closest_marker("slow") is None
    return place, is_short
