"""One AMQP connection: made when asked for, and after a failure not before a while has passed."""

import asyncio
import random
from typing import Final

from taskqueue_operator.resource.backoff import Backoff
from taskqueue_operator.resource.faults import BrokerFault

from . import faults
from .endpoint import Endpoint
from .probe_connection import ProbeConnection

CONNECT_SECONDS: Final = 8.0
SILENCE_SECONDS: Final = 6.0
"""How long a connection may answer nothing at all of what it is asked; sooner than heartbeats would notice."""
FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 4.0
"""Short, because the fault must not outlive its cause: this is one connection per broker, not one per queue."""


class Reconnector:
    """Holds the connection, under a name that the broker shows for it, and remembers why there is none.

    Pauses between attempts grow and have full jitter, so that operators do not keep in step with each other.
    """

    def __init__(self, endpoint: Endpoint, *, name: str) -> None:
        self._endpoint = endpoint
        self._name = name
        self._connection: ProbeConnection | None = None
        self._connecting = asyncio.Lock()
        self._backoff = Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, random.random)
        self._not_before = 0.0
        self._silent_since: float | None = None
        self._fault: BrokerFault | None = None

    async def connection(self) -> ProbeConnection:
        """Give the open connection, or make one.

        Raises:
            BrokerFault: There is none; at once when the last attempt failed a moment ago.
        """
        async with self._connecting:
            if self._connection is not None and self._connection.closed:
                self._fail(faults.unreachable(self._endpoint, "connection closed"))
            if self._connection is not None:
                return self._connection
            if self._fault is not None and now() < self._not_before:
                raise self._fault
            try:
                self._connection = await self._connect()
            except BrokerFault as fault:
                self._fail(fault)
                raise
            return self._connection

    def proven(self, asked: ProbeConnection) -> None:
        """Note that something was answered: the next failure is a first one."""
        if asked is self._connection:
            self._backoff.reset()
            self._fault, self._silent_since = None, None

    def suspect(self, asked: ProbeConnection, since: float) -> None:
        """Note that what was asked at a moment of the loop's time was not answered.

        Raises:
            BrokerFault: There is no connection any more, or this one has been silent for too long and is given up.
        """
        if self._connection is None and self._fault is not None:
            raise self._fault
        # Many questions are under way when a connection is lost: that is one loss, and no matter of the next one.
        if asked is not self._connection:
            return
        self._silent_since = since if self._silent_since is None else min(since, self._silent_since)
        if asked.closed:
            fault = faults.unreachable(self._endpoint, "connection closed")
        elif now() - self._silent_since > SILENCE_SECONDS:
            fault = faults.unreachable(self._endpoint, "no answer in time")
        else:
            return
        self._fail(fault)
        raise fault

    async def close(self) -> None:
        """Let go of the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _connect(self) -> ProbeConnection:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await ProbeConnection.open(self._endpoint, self._name)
        except (OSError, EOFError) as error:
            raise faults.unreachable(self._endpoint, faults.cause(error)) from None

    def _fail(self, fault: BrokerFault) -> None:
        if self._connection is not None:
            self._connection.abort()  # there is nobody left to take leave of
        self._connection, self._silent_since = None, None
        self._fault = fault
        self._not_before = now() + self._backoff.next_delay()


def now() -> float:
    """The running loop's time, in seconds."""
    return asyncio.get_running_loop().time()
