"""The news that the worker is leaving, for children: a pipe whose end of file all of them see at once."""

import os
import select


class DrainingPipe:
    """The worker's end of the pipe.

    Attributes:
        reader: What the fork server and its children inherit.
    """

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe()
        self._is_open = True

    def notify(self) -> None:
        """Tell all children, also those that start later."""
        if self._is_open:
            self._is_open = False
            os.close(self._writer)


class DrainingEvent:
    """`context.draining` of a handler in a child: like an event, and cannot be cleared."""

    def __init__(self, reader: int) -> None:
        self._poll = select.poll()
        self._poll.register(reader, select.POLLIN)

    def is_set(self) -> bool:
        """Return whether the worker is leaving."""
        return bool(self._poll.poll(0))

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the worker is leaving, or for so many seconds; return whether it is leaving."""
        return bool(self._poll.poll(None if timeout is None else timeout * 1000))
