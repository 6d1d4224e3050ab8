"""A memory alarm of the broker, which then blocks every connection that publishes."""

import time
from types import TracebackType
from typing import Final, Self
from uuid import uuid4

import httpx

from tests.cluster.broker import Broker
from tests.integration.worker.eventually import eventually
from tests.integration.worker.management_api import connections

WATERMARK: Final = "0.6"
BELOW_USE: Final = "0.00001"
"""A watermark that every broker exceeds."""
# A process in the broker that follows a queue: an alarm while the queue exists. rabbitmqctl itself takes seconds, on a
# busy machine half a minute.
_FOLLOW_QUEUE: Final = """
Name = rabbit_misc:r(<<"/">>, queue, <<"QUEUE">>),
Until = fun Until(Wanted) -> case rabbit_amqqueue:exists(Name) of
    Wanted -> ok;
    _ -> timer:sleep(50), Until(Wanted)
end end,
spawn(fun() ->
    Until(true), vm_memory_monitor:set_vm_memory_high_watermark(BELOW_USE),
    Until(false), vm_memory_monitor:set_vm_memory_high_watermark(WATERMARK)
end).
"""


class MemoryAlarm:
    """In effect inside the `with` block, from its first moment on."""

    def __init__(self, broker: Broker, management: httpx.Client) -> None:
        self._management = management
        self._queue = f"alarm-{uuid4().hex[:8]}"
        values = {"QUEUE": self._queue, "BELOW_USE": BELOW_USE, "WATERMARK": WATERMARK}
        script = _FOLLOW_QUEUE
        for name, value in values.items():
            script = script.replace(name, value)
        broker.ctl("eval", script)

    def __enter__(self) -> Self:
        self._management.put(self._path, json={"durable": True}).raise_for_status()
        while self._management.get("/api/health/checks/alarms").status_code == httpx.codes.OK:
            time.sleep(0.05)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._management.delete(self._path).raise_for_status()

    async def wait_until_blocked(self, name: str) -> None:
        """Wait until a connection of this name is blocked, because it has published during the alarm."""
        await eventually(
            f"connection {name} is blocked",
            lambda: any(connection.get("state") == "blocked" for connection in connections(self._management, name)),
        )

    @property
    def _path(self) -> str:
        return f"/api/queues/%2F/{self._queue}"
