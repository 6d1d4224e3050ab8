"""A memory alarm of the broker, which then blocks every connection that publishes."""

from types import TracebackType
from typing import Self

import httpx

from tests.cluster.broker import Broker
from tests.integration.worker.eventually import eventually
from tests.integration.worker.management_api import connections

DEFAULT_WATERMARK = "0.6"


class MemoryAlarm:
    """In effect inside the `with` block."""

    def __init__(self, broker: Broker, management: httpx.Client) -> None:
        self._broker = broker
        self._management = management

    def __enter__(self) -> Self:
        self._broker.ctl("set_vm_memory_high_watermark", "0.00001")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._broker.ctl("set_vm_memory_high_watermark", DEFAULT_WATERMARK)

    async def wait_until_blocked(self, name: str) -> None:
        """Wait until a connection of this name is blocked, because it has published during the alarm."""
        await eventually(
            f"connection {name} is blocked",
            lambda: any(connection.get("state") == "blocked" for connection in connections(self._management, name)),
        )
