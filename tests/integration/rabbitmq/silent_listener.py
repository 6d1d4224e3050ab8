"""A listener for observers that are read directly."""

from collections.abc import Collection

from taskqueue_operator.resource.names import Key
from taskqueue_operator.topology.objects import Topology


class SilentListener:
    """Ignores every event. All its TaskQueues are at zero, or none of them."""

    def __init__(self, *, at_zero: bool) -> None:
        self._at_zero = at_zero

    def is_scaled_to_zero(self, _: Key) -> bool:
        return self._at_zero

    def on_readings(self, keys: Collection[Key]) -> None: ...
    def on_queue_missing(self, key: Key) -> None: ...
    def on_counts(self, keys: Collection[Key]) -> None: ...
    async def on_topology(self, keys: Collection[Key], actual: Topology) -> None: ...
    def on_worker_report(self, subject: str, report: bytes, address: str) -> None: ...
    def on_answering(self, keys: Collection[Key]) -> None: ...
    def on_broker_health(self, keys: Collection[Key]) -> None: ...
