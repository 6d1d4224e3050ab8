"""Sweeps from a listing of queues."""

from datetime import UTC, datetime
from typing import Any, cast

from taskqueue_operator.rabbitmq.listing import SLICE
from taskqueue_operator.rabbitmq.management import Management
from taskqueue_operator.rabbitmq.vhost_reader import read_sweep
from taskqueue_operator.scaling.reading import Doubt, Sweep
from tests.unit.iterations import counted_iterations

NOW = datetime(2026, 1, 1, tzinfo=UTC)
READY_AND_UNACKED = {"messages_ready": 600, "messages_unacknowledged": 1}


class _Listing:
    """Stands in for the management API: a real broker lists a queue twice only in the moment after a partition."""

    def __init__(self, *items: dict[str, Any]) -> None:
        self._items = items

    async def read(self, _path: str, **_query: str) -> tuple[dict[str, Any], ...]:
        return self._items


async def sweep(*items: dict[str, Any]) -> Sweep:
    figures = {"name": "jobs", "state": "running", "messages": 601} | READY_AND_UNACKED
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


async def test_messages_that_are_neither_ready_nor_unacked_are_deferred() -> None:
    """RabbitMQ 4.3 lists a message that waits for its retry in the total only."""
    assert (await sweep({"messages": 606})).deferred == 5
    assert not (await sweep({"messages": 5, "messages_ready": 0, "messages_unacknowledged": 0})).is_empty


async def test_other_tasks_run_while_a_long_listing_is_parsed() -> None:
    with counted_iterations() as iterations:
        await sweep(*[{}] * (5 * SLICE))
    assert iterations.present >= 5


async def test_a_listing_without_the_total_has_no_valid_figures() -> None:
    assert (await sweep({"messages": None})).doubt is Doubt.NO_FIGURES
