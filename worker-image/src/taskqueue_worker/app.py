"""Wires a worker together and runs it from its first connect to a graceful shutdown."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING
from uuid import uuid4

import structlog

from taskqueue_drain import Identity, WorkerProtocol
from taskqueue_drain.aio import cancel, run_unless
from taskqueue_drain.aio_pika.connection import connect
from taskqueue_drain.aio_pika_channel import ControlChannel
from taskqueue_drain.environment import SettingsError
from taskqueue_drain.health import Health

from . import __version__, event_loop, log
from .application_metrics import ApplicationMetrics
from .bounds import LIFESPAN_EXIT_CODE, LOST_SLOT_EXIT_CODE
from .brake import Brake
from .breaker.registry import breakers
from .bridge import Inbox
from .connection import Supervisor
from .consume_gate import ConsumeGate
from .consume_proof import ConsumeProof
from .dead_letter_listeners import DeadLetterListeners
from .delivery import Delivery
from .drainable import DrainableWorker, ProtocolLog
from .endpoints import serve_endpoints
from .handler_loop import HandlerLoop
from .lifespan import Lifespan
from .metrics import Metrics
from .publishing.ladder import Ladder
from .publishing.publisher import Publisher
from .publishing.task_publisher import TaskPublisher
from .retries import Retries
from .run import Run
from .runner import Runner
from .settings import Settings
from .settlement import Settlement
from .stacks import stack_of_run
from .subscription import Subscription
from .tasks import Registry
from .watchdog import Watchdog
from .worker import Worker

if TYPE_CHECKING:
    from .pools.process_pool import ProcessPool

_log = structlog.get_logger("app")


def run(settings: Settings, registry: Registry) -> None:
    """Consume until SIGTERM or SIGINT, finish the running tasks, and return.

    Raises:
        SettingsError: The HTTP port is in use.
    """
    log.configure(settings.log_level)
    event_loop.run(_run(settings, registry))


async def _run(settings: Settings, registry: Registry) -> None:
    app = App(settings, registry)
    for number in (signal.SIGTERM, signal.SIGINT):
        _listen(number, app.begin_shutdown)
    await app.run()
    if app.worker.in_flight or app.exit_code:
        if app.worker.in_flight:
            _log.warning("exiting with running tasks that do not stop", tasks=app.worker.in_flight)
        sys.stdout.flush()
        # A thread cannot be stopped, and the interpreter would wait for it.
        os._exit(app.exit_code)


def _listen(number: signal.Signals, call: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    try:
        loop.add_signal_handler(number, call)
    except NotImplementedError:  # Windows
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(call))


class App:
    """One worker process."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        consume = settings.consume
        self.exit_code = 0
        self._asked_to_leave = False
        self._port = settings.http_port
        self._gate = gate = ConsumeGate()
        self._metrics = metrics = Metrics(settings.name, __version__, (handler.type for handler in registry))
        metrics.add_gauge("draining", gate.closed.is_set)
        self._handlers = HandlerLoop(event_loop.new_event_loop())
        self._lifespan = Lifespan(registry, self._handlers)
        inbox = Inbox(asyncio.get_running_loop())
        inbox.open_pipe()
        self._processes = _process_pool(settings, registry, metrics)
        self._task_publisher = TaskPublisher(Publisher(consume.broker, name=f"{settings.name} tasks"))
        self._runner = Runner(
            registry,
            self._handlers,
            inbox,
            self._task_publisher,
            self._processes,
            timeout_seconds=consume.task_timeout_seconds,
            threads=consume.concurrency,
        )
        self._watchdog = Watchdog(self._handlers, self._runner, metrics)
        # A connection of its own: a memory alarm blocks connections that publish, and acknowledgements must not wait.
        self._publisher = Publisher(consume.broker, name=f"{settings.name} dead letters")
        policy = settings.retry_policy
        self._settlement = Settlement(
            self._publisher.send,
            settings.dead_letter_target,
            metrics,
            gate.state_changed,
            Retries(policy, Ladder(self._publisher).delay) if policy is not None else None,
        )
        self._settlement.tell = DeadLetterListeners(registry, self._handlers).tell
        self.worker = Worker(
            self._runner,
            self._settlement,
            Brake(consume.most_prefetch * len(consume.queues)),
            metrics,
            state_changed=gate.state_changed,
            on_lost=self._on_lost,
            until_quiet=self._until_quiet,
            concurrency=consume.concurrency,
            max_attempts=settings.max_attempts,
        )
        subscriptions = [Subscription(queue, settings.name, consume, self.worker, gate) for queue in consume.queues]
        proof = ConsumeProof(subscriptions, self.worker)
        self._supervisor = Supervisor(consume.broker, settings.name, subscriptions, proof, metrics=metrics, gate=gate)
        identity = Identity(settings.name, settings.pod, uuid4().hex, consume.task_timeout_seconds)
        runtime = DrainableWorker(gate, self.worker, self._supervisor, breakers.unavailable)
        breakers.on_change = lambda: inbox.post(gate.state_changed.set)
        for breaker in breakers:
            metrics.add_breaker(breaker.name, breaker.get_state)
        observer = ProtocolLog(metrics)
        self._protocol = WorkerProtocol(identity, runtime, observer)
        self._control_channel = ControlChannel(
            self._protocol,
            lambda: connect(consume.broker, f"{settings.name} control"),
            gate.state_changed,
            observer,
        )
        self._health = Health(proof)
        self._health.join(self._protocol, self._control_channel)

    def begin_shutdown(self) -> None:
        """Stop consuming and finish the running tasks; the second time, cancel and requeue them."""
        if self._asked_to_leave:
            _log.warning("cancelling running tasks", in_flight=self.worker.in_flight)
            self._runner.cancel_running()
            return
        self._asked_to_leave = True
        self._leave()

    def _leave(self) -> None:
        if not self._gate.leaving.is_set():
            _log.info("leaving", in_flight=self.worker.in_flight)
            self._protocol.begin_shutdown()
            self._gate.begin_shutdown()
            self._handlers.notify_draining()
            if self._processes is not None:
                self._processes.notify_draining()

    async def _until_quiet(self) -> None:
        await self._supervisor.wait_until_quiet()

    def _on_lost(self, delivery: Delivery, run: Run) -> None:
        """End in good order, so that the container restarts with all its slots."""
        stack = stack_of_run(run)
        _log.error("handler does not stop", type=delivery.type, task_id=delivery.task_id, stack=stack)
        if not self._asked_to_leave:
            self.exit_code = LOST_SLOT_EXIT_CODE
        self._leave()

    async def _supervise(self) -> None:
        """Consume until the worker leaves, once the lifespan of the application has begun."""
        failure = await run_unless(self._gate.leaving, self._lifespan.begin())
        if failure is not None:
            _log.error("lifespan not begun", exception=failure.stack)
            self.exit_code = LIFESPAN_EXIT_CODE
            self._leave()
        await self._supervisor.run()

    async def run(self) -> None:
        """Run until the worker shuts down and every started task is settled.

        Raises:
            SettingsError: The HTTP port is in use.
        """
        try:
            application = ApplicationMetrics(self._handlers)
            serve_endpoints(self._port, self._metrics, self._health, application=application.page)
        except OSError as error:
            raise SettingsError(
                f"TASKQUEUE_HTTP_PORT={self._port} cannot be opened ({error.strerror}). "
                "Set another port, or 0 for any free one."
            ) from error
        self._handlers.start_thread()
        supervision = asyncio.ensure_future(self._supervise())
        control = asyncio.ensure_future(self._control_channel.run())
        watch = asyncio.ensure_future(self._watchdog.run())
        try:
            await supervision
            await self.worker.wait_until_settled()
            if (failure := await self._lifespan.end()) is not None:
                _log.error("lifespan not ended", exception=failure.stack)
            control.cancel()
            await self._task_publisher.close()
            await self._publisher.close()
            await self._supervisor.close()
            await cancel(control)
        finally:
            watch.cancel()
            self._handlers.close()
            if self._processes is not None:
                self._processes.close()
        _log.info("exited")


def _process_pool(settings: Settings, registry: Registry, metrics: Metrics) -> "ProcessPool | None":
    if not any(handler.in_child for handler in registry):
        return None
    if sys.platform != "linux":
        _log.warning('pool="process" needs Linux; its tasks run in threads')
        return None
    from .pools.process_pool import ProcessPool  # imports that few workers need

    return ProcessPool(settings.modules, settings.child_limits, metrics, log_level=settings.log_level)
