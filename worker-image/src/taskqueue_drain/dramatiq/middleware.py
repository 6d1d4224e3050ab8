"""The middleware by which a dramatiq worker joins the control protocol."""

import os
import signal
import threading
from collections.abc import Sequence
from functools import wraps
from queue import SimpleQueue
from types import FrameType, SimpleNamespace
from typing import Any

from dramatiq import Worker, cli
from dramatiq.middleware import Middleware
from pika import ConnectionParameters

from taskqueue_drain.environment import task_timeout_seconds_of
from taskqueue_drain.membership import Membership
from taskqueue_drain.pause import Pause
from taskqueue_drain.pika_channel import pika_sessions
from taskqueue_drain.protocol_log import contained, log

from .runtime import DramatiqRuntime
from .supported import check_dramatiq


class DrainMiddleware(Middleware):  # type: ignore[misc]  # dramatiq has no types
    """Joins with the worker of this process."""

    def __init__(self) -> None:
        self._runtime: DramatiqRuntime | None = None
        self._membership: Membership | None = None
        self._signals: SimpleQueue[int] = SimpleQueue()  # a signal handler may put into it

    @contained
    def before_worker_boot(self, broker: Any, worker: Any) -> None:  # noqa: ANN401 - dramatiq has no types
        """The worker has neither consumers nor threads yet."""
        runtime = DramatiqRuntime(worker)
        membership = self._membership = Membership(runtime, os.environ)

        def prepare() -> None:
            check_dramatiq(broker)
            runtime.install(broker, task_timeout_seconds_of(os.environ))
            self._runtime = runtime
            self._watch_sigterm()

        try:
            membership.join(lambda taskqueue: pika_sessions(lambda: _addresses(broker), taskqueue), prepare)
        finally:
            membership.serve()

    def before_process_message(self, broker: Any, message: Any) -> None:  # noqa: ANN401, ARG002 - dramatiq's signature
        """A task begins."""
        if self._runtime is not None:
            self._runtime.begin(message)

    def after_process_message(
        self,
        broker: Any,  # noqa: ANN401, ARG002 - dramatiq's signature
        message: Any,  # noqa: ANN401 - likewise
        *,
        result: Any = None,  # noqa: ANN401, ARG002 - likewise
        exception: BaseException | None = None,
    ) -> None:
        """A task has ended."""
        if self._runtime is not None:
            self._runtime.end(message, done=exception is None)

    def after_skip_message(self, broker: Any, message: Any) -> None:  # noqa: ANN401, ARG002 - dramatiq's signature
        """A middleware has skipped a task."""
        if self._runtime is not None:
            self._runtime.end(message, done=None)

    @contained
    def before_worker_shutdown(self, broker: Any, worker: Any) -> None:  # noqa: ANN401, ARG002 - dramatiq's signature
        """Also without SIGTERM, for example at a reload."""
        self._leave()
        if self._runtime is not None:
            self._runtime.end_threads()

    @contained
    def after_worker_shutdown(self, broker: Any, worker: Any) -> None:  # noqa: ANN401, ARG002 - dramatiq's signature
        """The last task has ended."""
        if self._membership is not None:
            self._membership.close()

    def _watch_sigterm(self) -> None:
        """Leave at SIGTERM, and let dramatiq see it: its own loop looks for it once a second."""
        former = signal.getsignal(signal.SIGTERM)
        if threading.current_thread() is not threading.main_thread() or not callable(former):
            return

        pause = Pause()
        cli.time = SimpleNamespace(sleep=pause)

        def on_sigterm(number: int, frame: FrameType | None) -> None:
            self._signals.put(number)
            former(number, frame)
            pause.end()

        signal.signal(signal.SIGTERM, on_sigterm)
        threading.Thread(target=self._leave_at_signal, name="taskqueue signals", daemon=True).start()

    def _leave_at_signal(self) -> None:
        self._signals.get()
        self._leave()

    def _leave(self) -> None:
        if self._runtime is not None and self._membership is not None:
            self._membership.leave()
            self._runtime.leave()


@contained
def install() -> None:
    """Let each worker of this process join when it starts."""
    start = Worker.start

    @wraps(start)
    def join_and_start(worker: Any) -> None:  # noqa: ANN401 - dramatiq has no types
        _add_middleware(worker.broker)
        start(worker)

    Worker.start = join_and_start


@contained
def _add_middleware(broker: Any) -> None:  # noqa: ANN401 - dramatiq has no types
    if any(isinstance(middleware, DrainMiddleware) for middleware in broker.middleware):
        log.warning("the middleware of taskqueue_drain is installed already: remove it from the application")
    else:
        broker.add_middleware(DrainMiddleware())


def _addresses(broker: Any) -> Sequence[ConnectionParameters]:  # noqa: ANN401 - dramatiq has no types
    parameters = broker.parameters
    return parameters if isinstance(parameters, list) else [parameters]
