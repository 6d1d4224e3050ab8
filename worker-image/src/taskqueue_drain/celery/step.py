"""The bootstep that lets a Celery consumer stop, with proof, and consume again. It runs on Celery's thread."""

import os
import time
from typing import Any, Final

from amqp import spec
from celery import __version__, bootsteps, signals
from celery.utils.log import get_logger
from celery.worker import state

from taskqueue_drain.activity import Activity
from taskqueue_drain.control_thread import ControlThread
from taskqueue_drain.endpoints import serve
from taskqueue_drain.environment import CannotJoinError, identity_of, port_of
from taskqueue_drain.health import Health
from taskqueue_drain.kombu_channel import kombu_sessions
from taskqueue_drain.protocol import Identity
from taskqueue_drain.protocol_log import ProtocolLog, contained, log
from taskqueue_drain.worker_protocol import WorkerProtocol

from . import unstarted
from .executions import watch_pool
from .runtime import CeleryRuntime
from .supported import check_celery

BEAT_SECONDS: Final = 5.0

get_logger(log.name)  # Celery then shows it with its own


class DrainStep(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no types
    """Joins the control protocol. Celery makes it with the consumer, and starts it at each connect."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **options: Any) -> None:  # noqa: ANN401 - Celery has no types
        super().__init__(consumer, **options)
        self._activity = Activity(time.monotonic())
        self._runtime = CeleryRuntime(consumer, self._activity)
        self._held: int | None = None
        self._receive: Any = None
        self._flows = 0
        self._control: ControlThread | None = None
        self._has_started = False
        self._beats: Any = None
        self._health = Health(self._runtime)
        self._begin = consumer.on_task_request
        self._identity: Identity | None = None
        self._prepare(consumer)

    @contained
    def start(self, consumer: Any) -> None:  # noqa: ANN401 - Celery has no types
        """Celery has connected, and is about to consume."""
        self._flows = 0
        self._held = self._receive = None
        self._runtime.is_connected = True
        self._health.beat_at = time.monotonic()
        if not self._runtime.wish[1]:
            self._hold(consumer)
        if not self._has_started:
            self._has_started = True
            self._join(consumer)
            self._serve()

    def register_with_event_loop(self, consumer: Any, hub: Any) -> None:  # noqa: ANN401, ARG002 - Celery has no types
        """Celery's event loop is about to run."""
        if self._identity is None:
            return
        hub.add_reader(self._runtime.fileno(), self._on_wish)
        if self._beats is not None:  # of the connection before
            hub.timer.cancel(self._beats)
        self._beats = hub.timer.call_repeatedly(BEAT_SECONDS, self._beat)

    @contained
    def stop(self, consumer: Any) -> None:  # noqa: ANN401 - Celery has no types
        """Celery shuts down, or has lost its connection."""
        is_leaving = state.should_stop is not None or state.should_terminate is not None
        if is_leaving and self._identity is not None:
            self._leave()
            self._apply(consumer)
        self._runtime.is_connected = False

    def shutdown(self, consumer: Any) -> None:  # noqa: ANN401, ARG002 - Celery has no types
        """Celery has finished its tasks."""
        if self._control is not None:
            self._control.close()

    @contained
    def _prepare(self, consumer: Any) -> None:  # noqa: ANN401 - Celery has no types
        """Find out whether this worker can be drained."""
        try:
            driver = consumer.conninfo.transport.driver_type
            pool = type(consumer.pool).__module__
            check_celery(__version__, pool, driver, has_hub=consumer.hub is not None)
            self._identity = identity_of(os.environ)
        except CannotJoinError as error:
            log.warning("this worker cannot be drained: %s", error)
            return
        watch_pool(consumer.pool, self._activity)
        # Before Celery copies it into the strategies of the tasks.
        consumer.on_task_request = self._begin_or_requeue
        signals.worker_shutting_down.connect(self._on_sigterm)

    def _join(self, consumer: Any) -> None:  # noqa: ANN401 - Celery has no types
        if self._identity is not None:
            observer = ProtocolLog()
            protocol = WorkerProtocol(self._identity, self._runtime, observer)
            sessions = kombu_sessions(consumer.app.connection_for_write(), self._identity.taskqueue)
            self._control = ControlThread(protocol, sessions, observer)
            self._health.join(protocol, self._control)
            self._control.start()

    def _serve(self) -> None:
        """Serve the probes of the pod, also for a worker that cannot be drained: without them it would be restarted."""
        if "TASKQUEUE_NAME" not in os.environ:
            return
        try:
            serve(port_of(os.environ), self._health)
        except (CannotJoinError, OSError) as error:
            log.warning("/healthz and /readyz are not served: %s", error)

    def _on_sigterm(self, **_: object) -> None:
        self._leave()

    def _leave(self) -> None:
        self._runtime.leave()
        if self._control is not None:
            self._control.leave()

    def _beat(self) -> None:
        self._health.beat_at = time.monotonic()

    def _on_wish(self) -> None:
        self._runtime.was_woken()
        self._apply(self._runtime.consumer)

    @contained
    def _apply(self, consumer: Any) -> None:  # noqa: ANN401 - Celery has no types
        """Do what the control thread wishes now."""
        number, may_consume = self._runtime.wish
        if not self._runtime.is_connected:
            return  # `start` follows
        if may_consume and self._held is not None:
            self._release(consumer)
        elif not may_consume and self._held != number:
            self._hold(consumer)

    def _hold(self, consumer: Any) -> None:  # noqa: ANN401 - Celery has no types
        """Cancel the consumers, requeue what has not begun, and ask for the proof that nothing follows."""
        tasks = consumer.task_consumer
        if self._held is None:
            self._receive, tasks.on_message = tasks.on_message, self._on_stray
            tasks.consume = lambda *_, **__: None  # Celery would consume after a connect, or for a further queue
        self._held = self._runtime.wish[0]
        for tag in tasks._active_tags.values():  # noqa: SLF001 - `cancel` would wait for each answer
            tasks.channel.basic_cancel(tag, nowait=True)
        tasks._active_tags.clear()  # noqa: SLF001 - likewise
        returned = unstarted.requeue_all(consumer)
        log.info("stopped consuming, requeued %d messages", returned)
        self._prove(tasks.channel)

    def _release(self, consumer: Any) -> None:  # noqa: ANN401 - Celery has no types
        tasks = consumer.task_consumer
        self._held = None
        del tasks.consume
        if self._receive is not None:
            tasks.on_message = self._receive
        for queue in tasks.queues:  # `consume` would wait, and its error would end here and not in Celery's loop
            tasks._basic_consume(queue, no_ack=None, nowait=True)  # noqa: SLF001 - see above

    def _prove(self, channel: Any) -> None:  # noqa: ANN401 - amqp has no types
        """Send a synchronous method. RabbitMQ processes a channel in order: its answer follows the last message."""
        self._runtime.quiet_since = -1
        self._flows += 1
        channel._pending[spec.Channel.FlowOk] = lambda *_: self._on_answer(channel)  # noqa: SLF001 - `flow` would wait
        channel.send_method(spec.Channel.Flow, "b", (True,))

    def _on_answer(self, channel: Any) -> None:  # noqa: ANN401 - amqp has no types
        self._flows -= 1
        if self._flows:
            channel._pending[spec.Channel.FlowOk] = lambda *_: self._on_answer(channel)  # noqa: SLF001 - see `_prove`
        elif self._held is not None:
            self._runtime.quiet_since = self._held

    @contained
    def _on_stray(self, message: Any) -> None:  # noqa: ANN401 - kombu has no types
        """A message was sent before the cancel and received after it."""
        unstarted.requeue(message)
        self._prove(message.channel)

    def _begin_or_requeue(self, request: Any) -> None:  # noqa: ANN401 - Celery has no types
        """Begin a task, unless the worker is drained."""
        if self._runtime.wish[1]:
            self._begin(request)
        else:
            unstarted.requeue_task(request)
