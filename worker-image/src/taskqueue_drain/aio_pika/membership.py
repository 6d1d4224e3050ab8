"""How a worker on asyncio joins the control protocol, or says why it cannot."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final

import aio_pika
from aio_pika import Connection
from aio_pika.abc import AbstractConnection

from taskqueue_drain.aio_pika_channel import ControlChannel
from taskqueue_drain.environment import CannotJoinError, identity_of
from taskqueue_drain.health import Health
from taskqueue_drain.probes import serve_probes
from taskqueue_drain.protocol import Identity
from taskqueue_drain.protocol_log import ProtocolLog, log
from taskqueue_drain.worker_protocol import WorkerProtocol

from .runtime import AioPikaRuntime

CONNECT_TIMEOUT_SECONDS: Final = 10
HEARTBEAT_SECONDS: Final = 15
CLOSE_TIMEOUT_SECONDS: Final = 5

Connect = Callable[[str], Awaitable[AbstractConnection]]


class Membership:
    """The part of a worker in the control protocol. Nothing here ends the worker."""

    def __init__(self, runtime: AioPikaRuntime, environment: Mapping[str, str]) -> None:
        """Serve the probes of the pod, also for a worker that cannot be drained: without them it would be restarted."""
        self._runtime = runtime
        self._environment = environment
        self._health = Health(runtime)
        self._protocol: WorkerProtocol | None = None
        self._channel: ControlChannel | None = None
        self._running: asyncio.Future[None] | None = None
        serve_probes(environment, self._health)

    @property
    def task_timeout_seconds(self) -> int | None:
        """The timeout of a task; None outside of a TaskQueue."""
        with suppress(CannotJoinError):
            return identity_of(self._environment).task_timeout_seconds
        return None

    def join(self, connect: Connect) -> None:
        """Report and obey from now on, over a connection that `connect` opens with a name. Joins once."""
        if self._protocol is not None or self._runtime.obstacle is not None:
            return
        try:
            self._join(identity_of(self._environment), connect)
        except CannotJoinError as error:
            self.refuse(str(error))

    def refuse(self, reason: str) -> None:
        """Say why the worker cannot be drained. One that has joined already refuses every drain from now on."""
        log.warning("this worker cannot be drained: %s", reason)
        self._runtime.obstacle = reason

    async def wait_for_tasks(self) -> None:
        """Wait until no task runs; a worker that has joined waits for the timeout of a task at most."""
        if self._protocol is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._protocol.identity.task_timeout_seconds):
                    await self._runtime.wait_until_idle()

    def leave(self) -> None:
        """Stop consuming for good: the worker got SIGTERM."""
        if self._protocol is None:
            self._runtime.stop_consuming()
        else:
            self._protocol.begin_shutdown()
            self._runtime.changed.set()

    async def close(self) -> None:
        """Report for the last time: the operator learns that the worker ends by itself."""
        if self._running is not None and self._channel is not None:
            await self._channel.flush()
            self._running.cancel()
            await asyncio.wait({self._running}, timeout=CLOSE_TIMEOUT_SECONDS)

    def _join(self, identity: Identity, connect: Connect) -> None:
        observer = ProtocolLog()
        self._protocol = WorkerProtocol(identity, self._runtime, observer)
        name = f"{identity.taskqueue} control"
        channel = self._channel = ControlChannel(self._protocol, lambda: connect(name), self._runtime.changed, observer)
        self._health.join(self._protocol, channel)
        self._running = asyncio.ensure_future(channel.run())


def beside(connection: Connection) -> Connect:
    """Return what opens a further connection like one of the application."""

    async def connect(name: str) -> AbstractConnection:
        return await aio_pika.connect(
            connection.url.update_query(heartbeat=HEARTBEAT_SECONDS, name=name),
            ssl_context=connection.kwargs["context"],
            client_properties={"connection_name": name},
            timeout=CONNECT_TIMEOUT_SECONDS,
        )

    return connect
