"""The bootstep that lets a Celery consumer stop, with proof, and consume again. It runs on Celery's thread."""

import os
import time
from collections.abc import Callable
from typing import Any

from celery import __version__, bootsteps, signals
from celery.utils.log import get_logger

from taskqueue_drain.control_thread import ControlThread
from taskqueue_drain.environment import CannotJoinError, identity_of, retry_settings_of
from taskqueue_drain.health import Health
from taskqueue_drain.kombu_channel import kombu_sessions
from taskqueue_drain.metrics import CountingLog, Metrics
from taskqueue_drain.probes import serve_probes
from taskqueue_drain.protocol import Identity
from taskqueue_drain.protocol_log import contained, log
from taskqueue_drain.task_runs import TaskRuns
from taskqueue_drain.worker_protocol import WorkerProtocol

from . import unstarted
from .attempts import Attempts
from .consumer_timeout import ConsumerTimeout
from .consuming import Consuming
from .copy_thread import CopyThread
from .event_loop import BlockingLoop, EventLoop, HubLoop
from .executions import watch_pool
from .green_slots import GreenSlots
from .heartbeat import Heartbeat
from .prompt_end import end_without_timers, make_processes_prompt
from .round_trips import RoundTrips
from .runtime import CeleryRuntime
from .supported import check_celery
from .unaccepted import keep_unaccepted

get_logger(log.name)  # Celery then shows it with its own


class DrainStep(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no types
    """Joins the control protocol. Celery makes it with the consumer, and starts it at each connect."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **options: Any) -> None:  # noqa: ANN401 - Celery has no types
        super().__init__(consumer, **options)
        self._runs = TaskRuns(time.monotonic())
        self._runtime = CeleryRuntime(consumer, self._runs, self._wake)
        self._consuming = Consuming(self._runtime)
        self._health = Health(self._runtime)
        self._heartbeat = Heartbeat(self._health)
        self._loop: EventLoop | None = None
        self._slots: GreenSlots | None = None
        self._control: ControlThread | None = None
        self._has_started = False
        self._begin = consumer.on_task_request
        self._close: Callable[[], None] = lambda: None
        self._identity: Identity | None = None
        self._attempts: Attempts | None = None
        self._timeout: ConsumerTimeout | None = None
        self._prepare(consumer)

    @contained
    def start(self, consumer: Any) -> None:  # noqa: ANN401 - Celery has no types
        """Celery has connected, and is about to consume."""
        self._runtime.is_connected = True
        if self._timeout is not None:
            self._timeout.connected()
            trips = RoundTrips(consumer.task_consumer.channel)
            self._heartbeat.connected(trips)
            self._consuming.connected(trips)
        if not self._has_started:
            self._has_started = True
            if self._timeout is not None:
                keep_unaccepted(consumer.pool)
            metrics = self._join(consumer)
            serve_probes(os.environ, self._health, metrics.page if metrics else None)

    def register_with_event_loop(self, consumer: Any, hub: Any) -> None:  # noqa: ANN401, ARG002 - Celery has no types
        """Celery's event loop is about to run."""
        if self._loop is not None:
            self._loop.register(hub)

    def stop(self, consumer: Any) -> None:  # noqa: ANN401, ARG002 - Celery has no types
        """Celery shuts down, or has lost its connection."""
        self._runtime.is_connected = False

    def shutdown(self, consumer: Any) -> None:  # noqa: ANN401, ARG002 - Celery has no types
        """Celery has finished its tasks."""
        if self._attempts is not None:
            self._attempts.finish()
        if self._control is not None:
            self._control.close()

    @contained
    def _prepare(self, consumer: Any) -> None:  # noqa: ANN401 - Celery has no types
        """Find out whether this worker can be drained."""
        try:
            driver = consumer.conninfo.transport.driver_type
            pool = type(consumer.pool).__module__
            check_celery(__version__, pool, driver, has_hub=consumer.hub is not None)
            identity, settings = identity_of(os.environ), retry_settings_of(os.environ)
        except CannotJoinError as error:
            log.warning("this worker cannot be drained: %s", error)
            return
        self._identity = identity
        self._timeout = ConsumerTimeout(consumer, identity.task_timeout_seconds)
        copies = CopyThread(consumer.app.connection_for_write(), f"{identity.taskqueue} copies")
        self._attempts = Attempts(self._runtime, settings, copies, self._begin_or_requeue)
        watch_pool(consumer.pool, self._runs)
        make_processes_prompt()
        if consumer.hub is None:
            self._slots = GreenSlots(consumer, lambda: self._runtime.wish.may_consume)
            self._loop = BlockingLoop(consumer, self._on_wake, self._heartbeat.beat)
        else:
            self._loop = HubLoop(self._on_wake, self._heartbeat.beat)
        # Before Celery copies it into the strategies of the tasks.
        consumer.on_task_request = self._attempts.begin
        # Before the pool forgets what waits for its processes, and Celery what it has received.
        worker = consumer.controller.blueprint
        self._close, worker.on_close = worker.on_close, self._on_close
        signals.worker_shutting_down.connect(self._on_sigterm)

    def _join(self, consumer: Any) -> Metrics | None:  # noqa: ANN401 - Celery has no types
        """Connect the control channel, if the worker can be drained."""
        if self._identity is None:
            return None
        observer = CountingLog()
        protocol = WorkerProtocol(self._identity, self._runtime, observer)
        sessions = kombu_sessions(consumer.app.connection_for_write(), self._identity.taskqueue)
        self._control = ControlThread(protocol, sessions, observer)
        self._health.join(protocol, self._control)
        self._control.start()
        return Metrics(self._runtime, self._runs, observer, lambda: protocol.state, self._runtime.consumed_queues)

    def _on_close(self) -> None:
        """Celery shuts down, whether its event loop has run since SIGTERM or not."""
        self._leave()
        self._consuming.apply()
        self._consuming.finish()
        self._close()
        if not self._runtime.figures().in_flight:
            end_without_timers()

    def _on_sigterm(self, **_: object) -> None:
        self._leave()

    def _leave(self) -> None:
        self._runtime.leave()
        if self._control is not None:
            self._control.leave()

    def _wake(self) -> None:
        if self._loop is not None:
            self._loop.wake()

    def _on_wake(self) -> None:
        if self._attempts is not None:
            self._attempts.settle()
        self._consuming.apply()
        if self._slots is not None:  # some may have waited for the end of a drain that was never carried out
            self._slots.fill()

    def _begin_or_requeue(self, request: Any) -> None:  # noqa: ANN401 - Celery has no types
        """Begin a task, unless the worker is drained."""
        if not self._runtime.wish.may_consume:
            if self._slots is None:  # on Celery's thread: otherwise the broker would deliver the message here again
                self._consuming.apply()
            unstarted.requeue_task(request)
        elif self._slots is not None:
            self._slots.acquire(self._begin, request)
        else:
            self._begin(request)
