"""A prober that probes as the observer does, with a fake broker, in virtual time."""

import asyncio
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import cast

from taskqueue_operator.rabbitmq.probe import (
    Prober,
)
from taskqueue_operator.rabbitmq.probe_connection import ProbeConnection
from taskqueue_operator.rabbitmq.reconnect import Reconnector
from taskqueue_operator.scaling.reading import Probe

from .fake_amqp import ENDPOINT, FakeAmqp

START = datetime(2026, 1, 1, tzinfo=UTC)
PERIOD = 1.0


class FakeReconnector:
    """Always has a connection, and records the reports of the prober."""

    def __init__(self, connection: ProbeConnection) -> None:
        self.current = connection
        self.answered: list[bool] = []

    async def connection(self) -> ProbeConnection:
        return self.current

    def record_success(self, connection: ProbeConnection) -> None:
        assert connection is self.current
        self.answered.append(True)

    def record_timeout(self, connection: ProbeConnection, since: float) -> None:
        assert (connection, since <= asyncio.get_running_loop().time()) == (self.current, True)
        self.answered.append(False)


class ProbeLoop:
    """Probes once per period, as the observer does."""

    def __init__(self, broker: FakeAmqp, connection: ProbeConnection) -> None:
        self.broker = broker
        self.reconnector = FakeReconnector(connection)
        self.prober = Prober(ENDPOINT, cast("Reconnector", self.reconnector), now)
        self.last: dict[str, Probe] = {}

    async def rounds(self, queues: Collection[str], seconds: float, watched: Collection[str] = ()) -> timedelta:
        """Probe for a while. Returns the largest age that the last answer of a watched queue had."""
        end, oldest = now() + timedelta(seconds=seconds), timedelta()
        while now() < end:
            self.last |= await self.prober.probe(queues)
            oldest = max([oldest, *(now() - self.last[queue].at for queue in watched)])
            await asyncio.sleep(PERIOD)
        return oldest


def now() -> datetime:
    return START + timedelta(seconds=asyncio.get_running_loop().time())


def names(kind: str, count: int) -> list[str]:
    return [f"{kind}-{n}" for n in range(count)]


def by_kind(**seconds: float) -> Callable[[str], float]:
    return lambda queue: seconds[queue.partition("-")[0]]
