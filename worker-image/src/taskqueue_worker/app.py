"""Wires a worker together and takes it from its first connect to a graceful end."""

import asyncio
import os
import signal
import sys

import structlog
import uvloop

from taskqueue_worker import __version__, log
from taskqueue_worker.connection import Supervisor
from taskqueue_worker.endpoints import serve_endpoints
from taskqueue_worker.metrics import Metrics
from taskqueue_worker.runner import Runner
from taskqueue_worker.settings import Settings, SettingsError
from taskqueue_worker.subscription import Subscription
from taskqueue_worker.tasks import Registry
from taskqueue_worker.worker import Worker

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
        self._draining = asyncio.Event()
        self._metrics = Metrics(settings.name, __version__, (handler.type for handler in registry))
        self._metrics.watch("draining", self._draining.is_set)
        self._runner = Runner(
            registry,
            timeout_seconds=settings.task_timeout_seconds,
            threads=settings.concurrency,
            draining=self._draining,
        )
        self.worker = Worker(self._runner, settings.concurrency, self._metrics)
        subscriptions = [Subscription(queue, settings, self.worker, self._draining) for queue in settings.queues]
        self._supervisor = Supervisor(settings.broker, settings.name, subscriptions, self._metrics, self._draining)

    def leave(self) -> None:
        """Finish what runs and leave; the second time, give back what runs."""
        if self._draining.is_set():
            _log.warning("hurrying", in_flight=self.worker.in_flight)
            self._runner.hurry()
        else:
            _log.info("draining", in_flight=self.worker.in_flight)
            self.worker.stop_starting()
            self._draining.set()

    async def run(self) -> None:
        """Until asked to leave and everything that ran is settled."""
        supervision = asyncio.ensure_future(self._supervisor.run())
        try:
            endpoints = await serve_endpoints(
                self._port,
                self._metrics,
                alive=lambda: self._draining.is_set() or not supervision.done(),
                ready=lambda: self._supervisor.consuming and not self._draining.is_set(),
            )
        except OSError as error:
            supervision.cancel()
            raise SettingsError(
                f"TASKQUEUE_HTTP_PORT={self._port} cannot be listened on ({error.strerror}). Set another; 0 takes any."
            ) from error
        try:
            await supervision
            await self.worker.finish()
            await self._supervisor.close()
        finally:
            await endpoints.cleanup()
        _log.info("left")
