"""Wires a worker together and runs it from its first connect to a graceful shutdown."""

import asyncio
import os
import signal
import sys
from contextlib import suppress
from uuid import uuid4

import structlog
import uvloop

from . import __version__, log
from .brake import Brake
from .command_handler import CommandHandler
from .connection import Supervisor
from .consume_gate import ConsumeGate
from .control_channel import ControlChannel
from .endpoints import serve_endpoints
from .metrics import Metrics
from .protocol import Identity, Snapshot, State, current_state
from .publisher import Publisher
from .runner import Runner
from .settings import Settings, SettingsError
from .settlement import Settlement
from .subscription import Subscription
from .tasks import Registry
from .worker import Worker

_log = structlog.get_logger("app")


def run(settings: Settings, registry: Registry) -> None:
    """Consume until SIGTERM or SIGINT, finish the running tasks, and return.

    Raises:
        SettingsError: The HTTP port is in use.
    """
    log.configure()
    uvloop.run(_run(settings, registry))


async def _run(settings: Settings, registry: Registry) -> None:
    app = App(settings, registry)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, app.begin_shutdown)
    await app.run()
    if app.worker.in_flight:
        _log.warning("exiting with running tasks that do not stop", tasks=app.worker.in_flight)
        sys.stdout.flush()
        # A thread cannot be stopped, and both the event loop and the interpreter would wait for it.
        os._exit(0)


class App:
    """One worker process."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self._port = settings.http_port
        self._gate = gate = ConsumeGate()
        self._metrics = metrics = Metrics(settings.name, __version__, (handler.type for handler in registry))
        metrics.add_gauge("draining", gate.closed.is_set)
        self._runner = Runner(
            registry,
            timeout_seconds=settings.task_timeout_seconds,
            threads=settings.concurrency,
            draining=gate.leaving,
        )
        # A connection of its own: a memory alarm blocks connections that publish, and acknowledgements must not wait.
        self._publisher = Publisher(settings.broker, name=f"{settings.name} dead letters")
        self.worker = Worker(
            self._runner,
            Settlement(self._publisher.send, settings.dead_letter_target, metrics),
            Brake(settings.prefetch * len(settings.queues)),
            metrics,
            gate.state_changed,
            concurrency=settings.concurrency,
            max_attempts=settings.max_attempts,
        )
        subscriptions = [Subscription(queue, settings, self.worker, gate) for queue in settings.queues]
        self._supervisor = Supervisor(settings.broker, settings.name, subscriptions, metrics, gate)
        identity = Identity(settings.name, settings.pod, uuid4().hex, settings.task_timeout_seconds)
        self._commands = CommandHandler(
            identity.incarnation, gate, self.worker, self._supervisor.wait_until_quiet, metrics
        )
        self._control_channel = ControlChannel(settings.broker, identity, self._snapshot, self._commands, metrics)

    def begin_shutdown(self) -> None:
        """Stop consuming and finish the running tasks; the second time, cancel and requeue them."""
        if self._gate.leaving.is_set():
            _log.warning("cancelling running tasks", in_flight=self.worker.in_flight)
            self._runner.cancel_running()
        else:
            _log.info("leaving", in_flight=self.worker.in_flight)
            self._commands.begin_shutdown()

    async def run(self) -> None:
        """Run until the worker shuts down and every started task is settled.

        Raises:
            SettingsError: The HTTP port is in use.
        """
        supervision = asyncio.ensure_future(self._supervisor.run())
        try:
            endpoints = await serve_endpoints(
                self._port,
                self._metrics,
                alive=lambda: self._gate.leaving.is_set() or not supervision.done(),
                # A ReplicaSet removes pods that are not ready first, so a worker with a running task stays ready.
                ready=lambda: self._state in {State.CONSUMING, State.DRAINING},
            )
        except OSError as error:
            supervision.cancel()
            raise SettingsError(
                f"TASKQUEUE_HTTP_PORT={self._port} cannot be opened ({error.strerror}). "
                "Set another port, or 0 for any free one."
            ) from error
        control = asyncio.ensure_future(self._control_channel.run())
        try:
            await supervision
            await self.worker.wait_until_settled()
            control.cancel()
            await self._publisher.close()
            await self._supervisor.close()
            with suppress(asyncio.CancelledError):
                await control
        finally:
            await endpoints.cleanup()
        _log.info("exited")

    @property
    def _state(self) -> State:
        return current_state(
            leaving=self._gate.leaving.is_set(),
            closed=self._gate.closed.is_set(),
            quiet=self._supervisor.is_quiet,
            busy=self.worker.in_flight > 0 or self.worker.prefetched > 0,
            consuming=self._supervisor.consuming,
        )

    def _snapshot(self) -> Snapshot:
        now, activity = asyncio.get_running_loop().time(), self.worker.activity
        return Snapshot(
            state=self._state,
            in_flight=self.worker.in_flight,
            prefetched=self.worker.prefetched,
            idle_seconds=round(activity.idle_seconds(now), 3),
            oldest_seconds=None if (oldest := activity.oldest_seconds(now)) is None else round(oldest, 3),
            completed=activity.completed,
            failed=activity.failed,
            busy_seconds=round(activity.busy_seconds, 3),
            drain=self._commands.drained_by,
        )
