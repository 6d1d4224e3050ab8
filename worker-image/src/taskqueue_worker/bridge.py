"""Calls from one thread to the event loop of another, in order, with one wake of that loop per burst.

A worker has two event loops, each in a thread of its own. The loop of the connection owns everything that talks to the
broker or answers probes, and all state about messages. The loop of the handlers runs user code, and may be held by it.
Each thread changes only its own state, and posts calls to the inbox of the other loop.

Thread safety: `append` and `popleft` of a deque are atomic. `post` appends first and then reads `_is_woken`; `deliver`
clears it first and then counts the calls. A `post` that reads True has therefore appended before a delivery counts, and
its call is taken. Two posts that both read False wake the loop twice, and the second delivery may find nothing.
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress

_PIPE_BYTES = 4096


class Inbox:
    """The calls that other threads post to an event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()
        self._is_woken = False
        self._is_wake_due = False
        self._writer: int | None = None

    def open_pipe(self) -> None:
        """Wake the loop over a pipe from now on, where loops can wait for pipes. The loop must not run elsewhere yet.

        The kernel takes a write to a pipe as a sign that the writer is about to sleep, and runs the reader where the
        writer ran. `call_soon_threadsafe` wakes another processor, for a thread that then waits for the GIL.
        """
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        try:
            self._loop.add_reader(reader, self._on_pipe, reader)
        except NotImplementedError:  # Windows
            os.close(reader)
            os.close(writer)
        else:
            self._writer = writer

    def post(self, call: Callable[..., object], *arguments: object) -> None:
        """Let the loop run the call, which must not raise. Once the loop is closed, nothing runs."""
        self._calls.append((call, arguments))
        self._wake_unless_woken()

    def post_in_burst(self, call: Callable[..., object], *arguments: object) -> None:
        """As `post`, from the one other loop, and with one wake for all that the other loop runs now.

        The other loop may be held before that. Until then `deliver` finds the call.
        """
        self._calls.append((call, arguments))
        if not (self._is_woken or self._is_wake_due):
            self._is_wake_due = True
            asyncio.get_running_loop().call_soon(self._end_burst)

    def deliver(self) -> None:
        """Run what was posted; on the loop."""
        self._is_woken = False
        for _ in range(len(self._calls)):  # and not those that are posted meanwhile: the loop has other work too
            call, arguments = self._calls.popleft()
            call(*arguments)

    def _end_burst(self) -> None:
        self._is_wake_due = False
        if self._calls:
            self._wake_unless_woken()

    def _wake_unless_woken(self) -> None:
        if not self._is_woken:
            self._is_woken = True
            self._wake()

    def _wake(self) -> None:
        if self._writer is not None:
            with suppress(BlockingIOError):  # full of bytes, each of which wakes the loop
                os.write(self._writer, b"\0")
        else:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self.deliver)

    def _on_pipe(self, reader: int) -> None:
        os.read(reader, _PIPE_BYTES)
        self.deliver()
