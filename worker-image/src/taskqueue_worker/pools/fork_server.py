"""The fork server: imports the task modules once, and forks a child for each request of the worker.

The worker itself has threads and event loops, and so cannot fork. This process has one thread. It watches its children
and is the only one that waits for their end, so a signal never reaches another process that got the number of an
ended one. It takes part in no task.

The worker sends two sockets for each child: one is the child's, over which the tasks go. The other one is the status
socket: the fork server writes the number of the process, and at the end of the child a line about that. When the worker
closes its side, or ends in any way, the child is killed with all that it has started.
"""

import faulthandler
import gc
import os
import resource
import selectors
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Final

import structlog

from taskqueue_worker import log
from taskqueue_worker.bounds import CHILD_MEMORY_PERIOD_SECONDS
from taskqueue_worker.cli import import_tasks
from taskqueue_worker.tasks import registry

from .child import Child
from .child_exit import ChildExit
from .draining import DrainingEvent
from .memory import held_bytes
from .parent_death import signal_at_end_of

REQUEST: Final = b"c"
ORPHANED: Final = signal.SIGUSR1
"""The worker has ended. Until the modules are imported, this ends the fork server; later, first its children."""
_KIB: Final = 1024

_log = structlog.get_logger("fork_server")


def main(arguments: list[str]) -> int:
    """Serve until the worker ends. For the arguments, see `command`."""
    worker, control, draining, memory_limit, log_level = map(int, arguments[:5])
    for number in (signal.SIGTERM, signal.SIGINT):
        # No SIG_IGN: what a handler starts would inherit that.
        signal.signal(number, _continue)
    signal_at_end_of(worker, ORPHANED)
    faulthandler.enable()  # a child that a signal ends writes its stack to stderr
    log.configure(log_level)
    import_tasks(arguments[5:], registry)
    if threading.active_count() > 1:
        names = sorted(thread.name for thread in threading.enumerate() if thread is not threading.main_thread())
        _log.warning("a task module has started threads, which do not exist in children", threads=names)
    gc.collect()
    gc.freeze()  # a collection in a child would write to, and so copy, every page that it shares
    sys.stdout.flush()  # each child would write again what the modules have written
    ForkServer(socket.socket(fileno=control), DrainingEvent(draining), memory_limit).run()
    return 0


def command(control: int, draining: int, memory_limit: int, log_level: int, modules: tuple[str, ...]) -> list[str]:
    """Return the command of a fork server that inherits these descriptors. A memory limit of 0 is none."""
    numbers = map(str, (os.getpid(), control, draining, memory_limit, log_level))
    return [sys.executable, "-m", __package__ or "", *numbers, *modules]


def _continue(*_: object) -> None:
    """Let running tasks finish: the worker decides when its children end."""


@dataclass(eq=False)
class _Forked:
    pid: int
    status: socket.socket
    held_bytes: int = 0


class ForkServer:
    """Forks children, watches them, and kills them."""

    def __init__(self, control: socket.socket, draining: DrainingEvent, memory_limit: int) -> None:
        self._control = control
        self._draining = draining
        self._memory_limit = memory_limit
        self._own_bytes = held_bytes()
        self._children: dict[int, _Forked] = {}
        self._is_orphaned = False
        self._selector = selectors.DefaultSelector()
        self._wakeup, wakeup = socket.socketpair()
        self._wakeup.setblocking(False)
        wakeup.setblocking(False)
        self._wakeup_writer = wakeup

    def run(self) -> None:
        """Serve until the worker closes the control socket."""
        signal.signal(signal.SIGCHLD, _continue)
        signal.signal(ORPHANED, self._orphaned)
        signal.set_wakeup_fd(self._wakeup_writer.fileno(), warn_on_full_buffer=False)
        self._selector.register(self._wakeup, selectors.EVENT_READ, self._reap)
        self._selector.register(self._control, selectors.EVENT_READ, self._fork)
        while not self._is_orphaned:
            period = CHILD_MEMORY_PERIOD_SECONDS if self._memory_limit and self._children else None
            for key, _ in self._selector.select(period):
                key.data()
            if self._memory_limit:
                self._enforce_memory_limit()
        for child in [*self._children.values()]:
            _kill(child.pid)

    def _fork(self) -> None:
        request, descriptors, _, _ = socket.recv_fds(self._control, len(REQUEST), 2)
        if not request:
            self._orphaned()
            return
        try:
            connection, status = descriptors  # fewer arrive if this process may open no further one
            server, pid = os.getpid(), os.fork()
        except (OSError, ValueError) as error:
            _log.error("child not forked", error=str(error))
            for descriptor in descriptors:
                os.close(descriptor)
            return
        if pid == 0:
            os.close(status)
            self._become_child(server, connection)
        os.close(connection)
        self._watch(_Forked(pid, socket.socket(fileno=status)))

    def _watch(self, child: _Forked) -> None:
        self._children[child.pid] = child
        self._selector.register(child.status, selectors.EVENT_READ, lambda: self._kill_released(child))
        with suppress(OSError):  # the worker does not want it any more
            child.status.send(b"%d\n" % child.pid)

    def _orphaned(self, *_: object) -> None:
        """The worker has closed the control socket, or has ended while a process that it had forked keeps it open."""
        self._is_orphaned = True

    def _become_child(self, server: int, connection: int) -> None:
        code = 1
        try:
            os.setsid()  # its group is what it starts itself; signals to the group of the worker do not reach it
            signal_at_end_of(server, signal.SIGKILL)
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, ORPHANED):
                signal.signal(number, signal.SIG_DFL)
            for child in self._children.values():
                child.status.close()
            for own in (self._control, self._wakeup, self._wakeup_writer):
                own.close()
            self._selector.close()
            limited = bool(self._memory_limit)
            Child(Connection(connection), registry, self._draining, reports_memory=limited).run()
            code = 0
        except BaseException:  # noqa: BLE001 - whatever it is, the copy of the fork server must not go on
            traceback.print_exc()
        finally:
            with suppress(BaseException):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _kill_released(self, child: _Forked) -> None:
        """The worker has closed its side of the status socket."""
        if self._children.get(child.pid) is child:  # otherwise it has just ended by itself
            self._selector.unregister(child.status)
            _kill(child.pid)

    def _enforce_memory_limit(self) -> None:
        for child in self._children.values():
            held = held_bytes(child.pid) - self._own_bytes
            if held > self._memory_limit and not child.held_bytes:
                child.held_bytes = held
                _kill(child.pid)

    def _reap(self) -> None:
        with suppress(BlockingIOError):
            while self._wakeup.recv(4096):
                pass
        for child in [*self._children.values()]:
            # First without taking it: until then its number, and that of its group, belongs to no other process.
            if os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                _kill(child.pid)
                _, status, usage = os.wait4(child.pid, 0)
                self._end(child, status, usage)

    def _end(self, child: _Forked, status: int, usage: resource.struct_rusage) -> None:
        del self._children[child.pid]
        with suppress(KeyError):  # released before
            self._selector.unregister(child.status)
        ended = ChildExit(os.waitstatus_to_exitcode(status), usage.ru_maxrss * _KIB, child.held_bytes)
        with suppress(OSError):  # the worker has ended
            child.status.send(ended.encode())
        child.status.close()


def _kill(pid: int) -> None:
    """Kill a child that was not waited for yet, and what it has started."""
    calls: tuple[Callable[[int, int], None], ...] = (os.kill, os.killpg)
    for call in calls:
        with suppress(ProcessLookupError, PermissionError):  # no group yet, or all of it has ended
            call(pid, signal.SIGKILL)
