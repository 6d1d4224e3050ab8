"""Runs `def` handlers in children. It starts with the first task that needs it."""

import asyncio
import logging
import socket
import subprocess
import threading
from dataclasses import fields
from typing import Final, Protocol

from taskqueue_worker.bounds import CHILD_EXIT_SECONDS, CHILD_RETRY_SECONDS
from taskqueue_worker.log import CURRENT_TASK
from taskqueue_worker.outcomes import Requeue
from taskqueue_worker.tasks import Context

from .child_exit import UNSEEN, ChildLostError, EndReason
from .child_limits import ChildLimits
from .child_process import ChildNotStartedError, ChildProcess
from .draining import DrainingPipe
from .fork_server import command
from .messages import CONTEXT_VALUES, Request, encode_request

SOCKETS_CLOSED_SECONDS: Final = 1
"""How long a process may take to end after its sockets are closed."""


class Observer(Protocol):
    """Counts children."""

    def child_started(self) -> None:
        """A child was started."""

    def child_ended(self, reason: EndReason) -> None:
        """A child has ended, or will have soon."""


class ProcessPool:
    """The children of a worker. A call of a handler takes an idle one, or starts one.

    There are never more children than threads that call, so the pool has no size of its own.
    """

    def __init__(
        self, modules: tuple[str, ...], limits: ChildLimits, observer: Observer, *, log_level: int = logging.INFO
    ) -> None:
        """`modules` are imported by the fork server, and register the handlers."""
        self._modules = modules
        self._log_level = log_level
        self._limits = limits
        self._observer = observer
        self._lock = threading.Lock()
        self._idle: list[ChildProcess] = []
        self._server: tuple[subprocess.Popen[bytes], socket.socket] | None = None
        self._draining = DrainingPipe()
        self._is_closed = False

    def call(
        self,
        type: str,  # noqa: A002 - named as the AMQP property
        version: int = 1,
        *,
        wants_result: bool,
    ) -> "ProcessCall":
        """Return a call of the handler of this type and version."""
        return ProcessCall(self, type, version, wants_result=wants_result)

    def notify_draining(self) -> None:
        """Tell the handlers that the worker is leaving."""
        self._draining.notify()

    def close(self) -> None:
        """End all children, and the fork server. A call that goes on then ends with this process."""
        self._is_closed = True
        if not self._lock.acquire(timeout=CHILD_EXIT_SECONDS):  # the modules are still being imported
            return
        try:
            for child in self._idle:
                child.wait()
                self._observer.child_ended(EndReason.CLOSED)
            self._idle.clear()
            self._stop_server()
        finally:
            self._lock.release()

    def take(self) -> ChildProcess:
        """Return a child without a task. Blocks while it starts.

        Raises:
            ChildNotStartedError: None can be started.
        """
        with self._lock:
            while self._idle:
                child = self._idle.pop()  # the last one that was used: the others may stay swapped out
                if not child.has_ended:
                    return child
                child.close()
                self._observer.child_ended(EndReason.LOST)
            child = self._start()
            self._observer.child_started()
            return child

    def return_child(self, child: ChildProcess) -> None:
        """The task of a child has ended, and the child lives."""
        reason = self._reason_to_recycle(child)
        if reason is None:
            with self._lock:
                self._idle.append(child)
        else:
            child.wait()
            self._observer.child_ended(reason)

    def lost(self, child: ChildProcess) -> ChildLostError:
        """Say how a child ended that had a task."""
        ended = child.wait()
        exceeded = ended is not None and ended.held_bytes
        self._observer.child_ended(EndReason.MEMORY_LIMIT if exceeded else EndReason.LOST)
        return UNSEEN if ended is None else ended.error(self._limits.memory_bytes)

    def killed(self, child: ChildProcess, reason: EndReason) -> None:
        """A child was killed; wait for its end, so that its task has really stopped."""
        child.wait()
        self._observer.child_ended(reason)

    def _reason_to_recycle(self, child: ChildProcess) -> EndReason | None:
        if self._limits.tasks and child.tasks >= self._limits.tasks:
            return EndReason.RECYCLED_TASKS
        # What is left over from earlier tasks must not let a later one exceed the limit.
        if self._limits.memory_bytes and child.memory_bytes > self._limits.memory_bytes / 2:
            return EndReason.RECYCLED_MEMORY
        return None

    def _start(self) -> ChildProcess:
        if self._is_closed:
            raise ChildNotStartedError("The worker ends.")
        if self._server is not None:
            process, control = self._server
            try:
                return ChildProcess(control)
            except ChildNotStartedError:
                if not _has_ended(process):
                    raise  # it cannot fork now, and its children may still work
                self._stop_server()
        self._server = self._start_server()
        return ChildProcess(self._server[1])

    def _start_server(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        own, control = socket.socketpair()
        with control:
            inherited = (control.fileno(), self._draining.reader)
            try:
                # This thread is one of a pool, which live as long as the process: see `signal_at_end_of`.
                process = subprocess.Popen(  # noqa: S603 - this interpreter
                    command(*inherited, self._limits.memory_bytes, self._log_level, self._modules),
                    pass_fds=inherited,
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                )
            except OSError as error:
                own.close()
                raise ChildNotStartedError(repr(error)) from error
        return process, own

    def _stop_server(self) -> None:
        if self._server is not None:
            process, control = self._server
            self._server = None
            control.close()
            try:
                process.wait(CHILD_EXIT_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class ProcessCall:
    """One call of a handler in a child. `__call__` blocks, in a thread; `cancel` may come from another thread.

    Attributes:
        is_starting: Whether it waits for a child, so that the handler has not begun.
    """

    def __init__(
        self,
        pool: ProcessPool,
        type: str,  # noqa: A002 - as above
        version: int,
        *,
        wants_result: bool,
    ) -> None:
        self._pool = pool
        self._type = type
        self._version = version
        self._wants_result = wants_result
        self._lock = threading.Lock()
        self._child: ChildProcess | None = None
        self._cancelled: EndReason | None = None
        self.is_starting = False

    def __call__(self, payload: object, context: Context | None = None) -> object:
        """Return what the handler returns, or raise what it raises.

        Raises:
            ChildLostError: The child ended.
            Requeue: No child can be started.
            asyncio.CancelledError: The call was cancelled.
        """
        task = CURRENT_TASK.get()
        request = Request(
            self._type,
            self._version,
            payload,
            None if context is None else _values(context),
            self._wants_result,
            {} if task is None else task.log_fields,
        )
        encoded = encode_request(request)  # before there is a child: a payload may be of a class that cannot be pickled
        self.is_starting = True
        try:
            child = self._pool.take()
        except ChildNotStartedError as error:
            raise Requeue(str(error), delay=CHILD_RETRY_SECONDS) from error
        if not self._has(child):
            self._pool.return_child(child)
            raise asyncio.CancelledError
        self.is_starting = False
        try:
            reply = child.run(encoded)
        except (EOFError, OSError) as error:
            raise self._end_of(child) from error
        if self._release():
            self._pool.return_child(child)
        else:
            self._pool.killed(child, self._cancelled or EndReason.CANCELLED)
        return reply.value()

    def cancel(self, reason: EndReason) -> None:
        """Kill the child; if there is none yet, let the call not begin."""
        with self._lock:
            self._cancelled = reason
            if self._child is not None:
                self._child.kill()

    def _has(self, child: ChildProcess) -> bool:
        with self._lock:
            if self._cancelled is not None:
                return False
            self._child = child
            return True

    def _release(self) -> bool:
        """Let `cancel` kill the child no longer; return whether it has not done so."""
        with self._lock:
            self._child = None
            return self._cancelled is None

    def _end_of(self, child: ChildProcess) -> BaseException:
        if self._release():
            return self._pool.lost(child)
        self._pool.killed(child, self._cancelled or EndReason.CANCELLED)
        return asyncio.CancelledError()


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Return whether a process has ended whose sockets are closed: the kernel closes them first."""
    try:
        process.wait(SOCKETS_CLOSED_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return True


def _values(context: Context) -> dict[str, object]:
    return {field.name: getattr(context, field.name) for field in fields(context) if field.name in CONTEXT_VALUES}
