"""What the protocol wishes: set on the control thread, and obeyed on the threads of the consumers."""

import threading


class Wish:
    """Whether the worker may consume, and how often that was asked: a consumer is quiet for a number."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal handler may ask while its thread asks
        self._current = (0, True)
        self._is_final = False

    @property
    def current(self) -> tuple[int, bool]:
        """How often was asked, and whether the worker may consume."""
        return self._current

    @property
    def may_consume(self) -> bool:
        """Whether the worker may consume."""
        return self._current[1]

    @property
    def is_final(self) -> bool:
        """Whether the worker will never consume again."""
        return self._is_final

    def ask(self, *, may_consume: bool) -> None:
        """Ask to consume, or to stop."""
        with self._lock:
            self._current = (self._current[0] + 1, may_consume and not self._is_final)

    def end(self) -> None:
        """Ask to stop for good."""
        self._is_final = True
        self.ask(may_consume=False)
