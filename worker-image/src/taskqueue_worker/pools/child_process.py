"""The worker's side of a child."""

import select
import socket
from multiprocessing.connection import Connection

from taskqueue_worker.bounds import CHILD_EXIT_SECONDS, CHILD_START_SECONDS, RESULT_BYTES

from .child_exit import ChildExit
from .fork_server import REQUEST
from .messages import Reply, decode_reply


class ChildNotStartedError(Exception):
    """No child could be started."""


class ChildProcess:
    """A child that runs one task at a time. Every method may block, and is for the thread of its task; except `kill`.

    Attributes:
        pid: The number of its process.
        tasks: How many tasks it has run.
        memory_bytes: What it held after the last one.
    """

    def __init__(self, control: socket.socket) -> None:
        """Let the fork server at the other end of `control` fork it.

        Raises:
            ChildNotStartedError: The fork server has ended, or cannot fork.
        """
        self.tasks = self.memory_bytes = 0
        own, connection = socket.socketpair()
        self._status, status = socket.socketpair()
        self._connection = Connection(own.detach())
        self._lines = self._status.makefile("rb")
        try:
            with connection, status:
                socket.send_fds(control, [REQUEST], [connection.fileno(), status.fileno()])
            self._status.settimeout(CHILD_START_SECONDS)
            self.pid = int(self._lines.readline())
            self._status.settimeout(CHILD_EXIT_SECONDS)
        except (OSError, ValueError) as error:  # ValueError: no number, because the fork server has closed the socket
            self.close()
            raise ChildNotStartedError(
                "The fork server could not start a child. Look at stderr, and at the limits of memory and processes."
            ) from error

    @property
    def has_ended(self) -> bool:
        """Whether it has ended by itself."""
        return bool(select.select([self._status], [], [], 0)[0])

    def run(self, request: bytes) -> Reply:
        """Run a task, which `encode_request` has encoded.

        Raises:
            EOFError, OSError: The child has ended.
        """
        self._connection.send_bytes(request)
        reply = decode_reply(self._connection.recv_bytes(RESULT_BYTES))
        self.tasks += 1
        self.memory_bytes = reply.memory_bytes
        return reply

    def kill(self) -> None:
        """Let the fork server kill it, and what it has started."""
        self._status.shutdown(socket.SHUT_WR)

    def wait(self) -> ChildExit | None:
        """Let it end, and wait until it has; None if that is not known. One that does not end is killed."""
        self._connection.close()
        try:
            return ChildExit.decode(self._lines.readline())
        except OSError:  # for example a process that hangs in the kernel
            return None
        finally:
            self.close()

    def close(self) -> None:
        """Give it up: it ends, or is killed."""
        self._connection.close()
        self._lines.close()
        self._status.close()
