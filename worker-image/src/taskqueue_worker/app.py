"""Wires a worker together and takes it from its first connect to a graceful end."""

import asyncio
import os
import signal
import sys
from contextlib import suppress
from uuid import uuid4

import structlog
import uvloop

from . import __version__, log
from .command_handler import CommandHandler
from .connection import Supervisor
from .consume_gate import ConsumeGate
from .control_channel import ControlChannel
from .endpoints import serve_endpoints
from .metrics import Metrics
from .protocol import Facts, Identity, State, state
from .runner import Runner
from .settings import Settings, SettingsError
from .subscription import Subscription
from .tasks import Registry
from .worker import Worker

_log = structlog.get_logger(__name__)


def run(settings: Settings, registry: Registry) -> None:
    """Work until SIGTERM or SIGINT, finish what runs, and return.

    Raises:
        SettingsError: the HTTP port is taken.
    """
    log.configure()
    uvloop.run(_run(settings, registry))


async def _run(settings: Settings, registry: Registry) -> None:
    app = App(settings, registry)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, app.leave)
    await app.run()
    if app.worker.in_flight:
        _log.warning("leaving although tasks do not stop", tasks=app.worker.in_flight)
        sys.stdout.flush()
        # A thread cannot be stopped, and both the event loop and the interpreter would wait for it.
        os._exit(0)


class App:
    """One worker process."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self._port = settings.http_port
        self._intake = intake = ConsumeGate()
        self._metrics = metrics = Metrics(settings.name, __version__, (handler.type for handler in registry))
        metrics.watch("draining", intake.shut.is_set)
        self._runner = Runner(
            registry,
            timeout_seconds=settings.task_timeout_seconds,
            threads=settings.concurrency,
            draining=intake.leaving,
        )
        self.worker = Worker(self._runner, settings.concurrency, metrics, intake.news)
        subscriptions = [Subscription(queue, settings, self.worker, intake) for queue in settings.queues]
        self._supervisor = Supervisor(settings.broker, settings.name, subscriptions, metrics, intake)
        identity = Identity(settings.name, settings.pod, uuid4().hex, settings.task_timeout_seconds)
        self._orders = CommandHandler(identity.incarnation, intake, self.worker, self._supervisor.quiet, metrics)
        self._control = ControlChannel(settings.broker, identity, self._facts, self._orders, metrics)

    def leave(self) -> None:
        """Finish what runs and leave; the second time, give back what runs."""
        if self._intake.leaving.is_set():
            _log.warning("hurrying", in_flight=self.worker.in_flight)
            self._runner.hurry()
        else:
            _log.info("leaving", in_flight=self.worker.in_flight)
            self._orders.leave()

    async def run(self) -> None:
        """Until asked to leave and everything that ran is settled."""
        supervision = asyncio.ensure_future(self._supervisor.run())
        try:
            endpoints = await serve_endpoints(
                self._port,
                self._metrics,
                alive=lambda: self._intake.leaving.is_set() or not supervision.done(),
                # A ReplicaSet removes first what is not ready: one that still runs a task is not to be among them.
                ready=lambda: self._state in {State.CONSUMING, State.DRAINING},
            )
        except OSError as error:
            supervision.cancel()
            raise SettingsError(
                f"TASKQUEUE_HTTP_PORT={self._port} cannot be listened on ({error.strerror}). Set another; 0 takes any."
            ) from error
        conversation = asyncio.ensure_future(self._control.run())
        try:
            await supervision
            await self.worker.finish()
            conversation.cancel()
            await self._supervisor.close()
            with suppress(asyncio.CancelledError):
                await conversation
        finally:
            await endpoints.cleanup()
        _log.info("left")

    @property
    def _state(self) -> State:
        return state(
            leaving=self._intake.leaving.is_set(),
            shut=self._intake.shut.is_set(),
            quiet=self._supervisor.is_quiet,
            busy=self.worker.in_flight > 0 or self.worker.prefetched > 0,
            consuming=self._supervisor.consuming,
        )

    def _facts(self) -> Facts:
        now, activity = asyncio.get_running_loop().time(), self.worker.activity
        return Facts(
            state=self._state,
            in_flight=self.worker.in_flight,
            prefetched=self.worker.prefetched,
            idle_seconds=round(activity.idle_seconds(now), 3),
            oldest_seconds=None if (oldest := activity.oldest_seconds(now)) is None else round(oldest, 3),
            completed=activity.completed,
            failed=activity.failed,
            busy_seconds=round(activity.busy_seconds, 3),
            drain=self._orders.drained_by,
        )
