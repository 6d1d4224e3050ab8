"""One AMQP connection: made when asked for, and after a failure not before a while has passed."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Iterator
from typing import Final
from urllib.parse import quote

import aiormq
from aiormq.abc import AbstractConnection
from aiormq.exceptions import InvalidFrameError, ProbableAuthenticationError

from taskqueue_operator.resource.faults import BrokerFault, Reason

from . import faults
from .endpoint import Endpoint

CONNECT_SECONDS: Final = 8.0
CLOSE_SECONDS: Final = 3.0
SILENCE_SECONDS: Final = 6.0
"""How long a connection may answer nothing at all; sooner than heartbeats would notice."""
HEARTBEAT_SECONDS: Final = 15
FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 4.0
"""Short, because the fault must not outlive its cause: this is one connection per broker, not one per queue."""


class Line:
    """Holds the connection and remembers why there is none.

    Reconnecting is ours, with exponential pauses and full jitter: `connect_robust` of aio-pika would declare and
    consume again by itself, and its retries keep in step with those of every other client.

    Args:
        endpoint: The broker.
        name: What the broker shows for the connection.
        explain: Asked when the broker refuses the vhost, of which AMQP gives no reason; raises it if known.
    """

    def __init__(self, endpoint: Endpoint, *, name: str, explain: Callable[[], Awaitable[object]]) -> None:
        self._endpoint = endpoint
        self._name = name
        self._explain = explain
        self._connection: AbstractConnection | None = None
        self._connecting = asyncio.Lock()
        self._failures = 0
        self._not_before = 0.0
        self._answered = 0.0
        self._fault: BrokerFault | None = None

    async def connection(self) -> AbstractConnection:
        """Give the open connection, or make one.

        Raises:
            BrokerFault: There is none; at once when the last attempt failed a moment ago.
        """
        async with self._connecting:
            if self._connection is not None and not self._connection.is_closed:
                return self._connection
            if self._connection is not None:
                await self._fail(faults.unreachable(self._endpoint, "connection closed"))
            if self._fault is not None and _now() < self._not_before:
                raise self._fault
            try:
                self._connection = await self._connect()
                self._answered = _now()
            except BrokerFault as fault:
                await self._fail(fault)
                raise
            return self._connection

    def proven(self) -> None:
        """Note that something was answered: the next failure is a first one."""
        self._failures, self._fault, self._answered = 0, None, _now()

    async def suspect(self) -> None:
        """Note that something was not answered.

        Raises:
            BrokerFault: Nothing else was for a while either, and the connection is given up.
        """
        connection = self._connection
        if connection is None or connection.is_closed:
            fault = faults.unreachable(self._endpoint, "connection closed")
        elif _now() - self._answered > SILENCE_SECONDS:
            fault = faults.unreachable(self._endpoint, "no answer in time")
        else:
            return
        await self._fail(fault)
        raise fault

    async def close(self) -> None:
        """Let go of the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            # Closed or torn: what matters is that nothing of it is left.
            with contextlib.suppress(Exception), unless_cancelled():
                async with asyncio.timeout(CLOSE_SECONDS):
                    await connection.close()

    async def _connect(self) -> AbstractConnection:
        endpoint = self._endpoint
        context = endpoint.trust() if endpoint.tls else None
        connection = aiormq.Connection(
            _url(endpoint), context=context, client_properties={"connection_name": self._name}
        )
        try:
            with unless_cancelled():
                async with asyncio.timeout(CONNECT_SECONDS):
                    await connection.connect()
        except ProbableAuthenticationError:
            raise faults.wrong_password(endpoint) from None
        except InvalidFrameError:
            raise await self._refused() from None
        except (OSError, aiormq.AMQPError) as error:
            raise faults.unreachable(endpoint, faults.cause(error)) from None
        return connection

    async def _refused(self) -> BrokerFault:
        try:
            await self._explain()
        except BrokerFault as fault:
            if fault.reason in {Reason.VHOST_NOT_FOUND, Reason.PERMISSION_DENIED}:
                return fault
        return faults.vhost_refused(self._endpoint)

    async def _fail(self, fault: BrokerFault) -> None:
        await self.close()
        pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2**self._failures)
        self._fault = fault
        self._failures = min(self._failures + 1, 16)
        self._not_before = _now() + random.uniform(0, pause)  # noqa: S311  jitter


@contextlib.contextmanager
def unless_cancelled() -> Iterator[None]:
    """Turn a CancelledError that nobody asked for into a ConnectionError.

    aiormq ends whatever waits for a closing connection with the reason of the close, which may be a CancelledError.
    """
    task = asyncio.current_task()
    asked = task.cancelling() if task is not None else 0
    try:
        yield
    except asyncio.CancelledError:
        if task is None or task.cancelling() > asked:
            raise
        raise ConnectionError from None


def _url(endpoint: Endpoint) -> str:
    username, password, vhost = (
        quote(part, safe="") for part in (endpoint.username, endpoint.password, endpoint.vhost)
    )
    scheme = "amqps" if endpoint.tls else "amqp"
    return f"{scheme}://{username}:{password}@{endpoint.address}/{vhost}?heartbeat={HEARTBEAT_SECONDS}"


def _now() -> float:
    return asyncio.get_running_loop().time()
