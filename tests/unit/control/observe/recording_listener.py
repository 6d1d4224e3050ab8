"""Records the events of an observer, and runs an observer with such a listener."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any

from taskqueue_operator.control.observe.observer import Observer
from taskqueue_operator.resource.names import Key
from taskqueue_operator.topology.objects import Topology
from tests.unit.control.fake_broker import FakeBroker, FakeEndpoint
from tests.unit.control.fake_cluster import KEY, FakeTelemetry

OTHER = Key("media", "other")


class RecordingListener:
    """Records the events."""

    def __init__(self) -> None:
        self.at_zero: set[Key] = set()
        self.reads: list[Key] = []
        self.batches: list[Collection[Key]] = []
        self.misses: list[Key] = []
        self.dead_letters: list[Key] = []
        self.faults: list[tuple[float, frozenset[Key]]] = []
        self.topologies: list[float] = []
        self.reports: list[tuple[bytes, str]] = []
        self.subjects: list[str] = []

    def is_scaled_to_zero(self, key: Key) -> bool:
        return key in self.at_zero

    def on_readings(self, keys: Collection[Key]) -> None:
        self.reads += keys
        self.batches.append(keys)

    def on_queue_missing(self, key: Key) -> None:
        self.misses.append(key)

    def on_counts(self, keys: Collection[Key]) -> None:
        self.dead_letters += keys

    async def on_topology(self, keys: Collection[Key], actual: Topology) -> None:  # noqa: ARG002  the shape of the port
        self.topologies.append(asyncio.get_running_loop().time())

    def on_worker_report(self, about: str, report: bytes, address: str) -> None:
        self.reports.append((report, address))
        self.subjects.append(about)

    def on_answering(self, keys: Collection[Key]) -> None:
        """Nothing is decided here."""

    def on_broker_health(self, keys: Collection[Key]) -> None:
        self.faults.append((round(asyncio.get_running_loop().time()), frozenset(keys)))


@asynccontextmanager
async def observing(
    broker: FakeBroker, listener: RecordingListener, telemetry: FakeTelemetry | None = None
) -> AsyncIterator[Observer]:
    observer = Observer(FakeEndpoint(), broker, listener, telemetry or FakeTelemetry(), broker.clock)
    observer.follow(KEY, "jobs")
    task = asyncio.create_task(observer.run())
    yield observer
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert broker.closed


def recorded_events(telemetry: FakeTelemetry, *prefix: str) -> list[Any]:
    return [event for event in telemetry.events if event[: len(prefix)] == prefix]
