"""Sweeps from a listing of queues."""

from datetime import UTC, datetime
from typing import Any, cast

from taskqueue_operator.rabbitmq.management import Management
from taskqueue_operator.rabbitmq.vhost_reader import read_sweep
from taskqueue_operator.scaling.reading import Doubt, Sweep

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class _Listing:
    """Stands in for the management API: a real broker lists a queue twice only in the moment after a partition."""

    def __init__(self, *items: dict[str, Any]) -> None:
        self._items = items

    async def read(self, _path: str, **_query: str) -> tuple[dict[str, Any], ...]:
        return self._items


async def sweep(*items: dict[str, Any]) -> Sweep:
    figures = {"name": "jobs", "state": "running", "messages_ready": 600, "messages_unacknowledged": 1}
    listing = _Listing(*(figures | item for item in items))
    return (await read_sweep(cast("Management", listing), lambda: NOW))["jobs"]


async def test_of_two_listings_of_a_queue_the_worse_figures_count() -> None:
    assert (await sweep({"messages_ready": 0}, {})).ready == 600
    assert (await sweep({}, {"messages_ready": 0})).ready == 600
    assert (await sweep({}, {"state": "down"})).doubt is Doubt.NOT_RUNNING


async def test_a_queue_in_minority_differs_from_a_queue_that_is_down() -> None:
    assert (await sweep({"state": "minority"})).doubt is Doubt.MINORITY
    assert (await sweep({"state": "down"})).doubt is Doubt.NOT_RUNNING


async def test_the_figures_of_a_running_queue_are_valid() -> None:
    for state in ("running", "idle", "flow"):
        assert await sweep({"state": state}) == Sweep(NOW, present=True, running=True, ready=600, unacked=1)
