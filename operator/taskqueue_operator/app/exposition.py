"""Writes the page of the metrics in slices, so that other tasks run meanwhile, however many TaskQueues there are.

On the event loop, not in a thread: a thread takes the interpreter from the loop whenever the loop reads a socket.
"""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector
from typing_extensions import override

from taskqueue_operator.control.slices import Slices


async def write_page(registry: CollectorRegistry) -> bytes:
    """Return all metrics in the text format of Prometheus.

    Families of the same name that follow each other are parts of one.
    """
    slices, page, before = Slices(), list[bytes](), ""
    for family in registry.collect():
        text = generate_latest(_Only(family))
        page.append(_samples(text) if family.name == before else text)
        before = family.name
        await slices.wait()
    return b"".join(page)


class _Only(Collector):
    """Collects one family, or a part of it."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    @override
    def collect(self) -> Iterable[Metric]:
        return (self._family,)


def _samples(text: bytes) -> bytes:
    """Return the text of a family without its description and type, a line each."""
    return text.split(b"\n", 2)[2]
