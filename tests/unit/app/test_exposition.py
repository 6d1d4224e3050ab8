"""The page of the metrics is written in slices."""

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from typing_extensions import override

from taskqueue_operator.app.exposition import write_page
from taskqueue_operator.control.slices import SLICE_SECONDS
from tests.unit.iterations import counted_iterations

PARTS = 10


class Slow(Collector):
    """One family in parts, each of which takes a slice."""

    @override
    def collect(self) -> Iterator[GaugeMetricFamily]:
        for number in range(PARTS):
            time.sleep(SLICE_SECONDS)
            part = GaugeMetricFamily("replicas", "How many.\nThere are.", labels=["name"])
            part.add_metric([f"part\n{number}"], number)
            yield part


def registry() -> CollectorRegistry:
    made = CollectorRegistry()
    made.register(Slow())
    return made


async def test_parts_of_a_family_have_one_description() -> None:
    page = (await write_page(registry())).decode().splitlines()
    assert page[:2] == [r"# HELP replicas How many.\nThere are.", "# TYPE replicas gauge"]
    assert page[2:] == [rf'replicas{{name="part\n{number}"}} {number}.0' for number in range(PARTS)]


async def test_other_tasks_run_between_the_parts() -> None:
    with counted_iterations() as iterations:
        await write_page(registry())
    assert iterations.present >= PARTS - 1
