"""Keeps one AMQP connection open: connects on demand, and backs off after a failure."""

import asyncio
import random
from typing import Final

from taskqueue_operator.resource.backoff import Backoff
from taskqueue_operator.resource.faults import BrokerFault, Reason

from . import faults
from .access import Access
from .clock import loop_time
from .login import AMQP
from .outage import Outage
from .probe_connection import ProbeConnection

CONNECT_TIMEOUT_SECONDS: Final = 8.0
SILENCE_TIMEOUT_SECONDS: Final = 6.0
"""A connection that has not answered any probe for this long is closed; heartbeats would need longer to notice."""
LONGEST_BACKOFF_SECONDS: Final = 4.0
"""In the first 40 s of an outage. Short, so that the fault ends soon after its cause."""
BACKOFF: Final = Backoff(first_seconds=0.5, longest_seconds=LONGEST_BACKOFF_SECONDS)


class Reconnector:
    """Holds the connection and the reason why there is none.

    Delays between attempts have full jitter, so that several operators do not reconnect at the same time.
    """

    def __init__(self, access: Access, *, name: str) -> None:
        """The broker shows `name` as the name of the connection."""
        self._endpoint = access.endpoint
        self._network = access.network
        self._login = access.login
        self._name = name
        self._connection: ProbeConnection | None = None
        self._connecting = asyncio.Lock()
        self._failures = 0
        self._outage = Outage()
        self._retry_at = 0.0
        self._silent_since: float | None = None
        self._fault: BrokerFault | None = None

    async def connection(self) -> ProbeConnection:
        """Return the open connection, or connect.

        Raises:
            BrokerFault: There is no connection. Raised without an attempt during the backoff.
        """
        async with self._connecting:
            if self._connection is not None and self._connection.closed:
                self._fail(faults.unreachable(self._endpoint, "connection closed"))
            if self._connection is not None:
                return self._connection
            if self._fault is not None and loop_time() < self._retry_at:
                raise self._fault.with_traceback(None)  # otherwise it grows with each raise
            try:
                self._connection = await self._connect()
            except BrokerFault as fault:
                self._fail(fault)
                raise
            return self._connection

    def record_success(self, connection: ProbeConnection) -> None:
        """Record an answer on this connection: the next failure counts as the first one."""
        if connection is self._connection:
            self._failures, self._fault, self._silent_since = 0, None, None
            self._outage.ended()

    def record_timeout(self, connection: ProbeConnection, since: float) -> None:
        """Record that probes sent at `since`, a time of the loop, were not answered in time.

        Raises:
            BrokerFault: The connection is lost, or was silent for too long and is now closed.
        """
        if self._connection is None and self._fault is not None:
            raise self._fault.with_traceback(None)
        # Several probes may be in flight when a connection is lost: that is one failure, and not one of the next
        # connection.
        if connection is not self._connection:
            return
        self._silent_since = since if self._silent_since is None else min(since, self._silent_since)
        if connection.closed:
            fault = faults.unreachable(self._endpoint, "connection closed")
        elif loop_time() - self._silent_since > SILENCE_TIMEOUT_SECONDS:
            fault = faults.unreachable(self._endpoint, "no answer in time")
        else:
            return
        self._fail(fault)
        raise fault

    async def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _connect(self) -> ProbeConnection:
        self._login.check(AMQP)
        await self._network.turn_to_connect(self._endpoint.namespace, tls=self._endpoint.tls)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                connection = await ProbeConnection.open(self._network, self._endpoint, self._name)
        except BrokerFault as fault:
            if fault.reason is Reason.AUTHENTICATION_FAILED:
                self._login.refused(AMQP, fault)
            raise
        except (OSError, EOFError) as error:
            raise faults.unreachable(self._endpoint, faults.cause(error)) from None
        self._login.accepted(AMQP)
        return connection

    def _fail(self, fault: BrokerFault) -> None:
        if self._connection is not None:
            self._connection.abort()
        self._connection, self._silent_since = None, None
        self._fault = fault
        longest = max(BACKOFF.seconds(self._failures), self._outage.failed(fault))
        self._retry_at = loop_time() + random.uniform(0, longest)  # noqa: S311  jitter
        self._failures += 1
