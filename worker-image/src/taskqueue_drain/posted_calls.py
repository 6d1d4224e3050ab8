"""Calls that other threads let the thread of a pika connection make, in order, with one wake of it for each burst.

pika wakes its thread for each call. A wake costs more than what is done then: for each task, an acknowledgement.

Thread safety: `append` and `popleft` of a deque are atomic. `post` appends first and then reads `_is_scheduled`;
`_make` clears it first and then counts the calls. A `post` that reads True has therefore appended before they are
counted.
"""

from collections import deque
from collections.abc import Callable

Call = Callable[[], object]


class PostedCalls:
    """Takes the place of a connection's `add_callback_threadsafe`."""

    def __init__(self, schedule: Callable[[Call], object]) -> None:
        """`schedule` is that method."""
        self._schedule = schedule
        self._calls: deque[Call] = deque()
        self._is_scheduled = False

    def post(self, call: Call) -> None:
        """Let the thread of the connection make the call.

        Raises:
            ConnectionWrongStateError: The connection is closed.
        """
        self._calls.append(call)
        if not self._is_scheduled:
            self._is_scheduled = True
            try:
                self._schedule(self._make)
            except BaseException:
                self._is_scheduled = False
                raise

    def _make(self) -> None:
        self._is_scheduled = False
        for _ in range(len(self._calls)):
            self._calls.popleft()()
