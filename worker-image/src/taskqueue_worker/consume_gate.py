"""Decides whether this worker consumes. Drain, undrain, the end of a drain lease and SIGTERM switch it."""

import asyncio


class ConsumeGate:
    """Open, closed for the time of a drain, or closed for good.

    Attributes:
        opened: Set while the worker consumes.
        closed: Set while the worker does not consume.
        leaving: Set once the worker shuts down; the gate does not open again.
        state_changed: Set whenever the worker's state may have changed. The control channel clears it.
    """

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.opened.set()
        self.closed = asyncio.Event()
        self.leaving = asyncio.Event()
        self.state_changed = asyncio.Event()

    def close(self) -> None:
        """Stop consuming until `reopen`."""
        self.opened.clear()
        self.closed.set()
        self.state_changed.set()

    def reopen(self) -> None:
        """Consume again, unless the worker is leaving."""
        if not self.leaving.is_set():
            self.closed.clear()
            self.opened.set()
            self.state_changed.set()

    def begin_shutdown(self) -> None:
        """Stop consuming for good."""
        self.close()
        self.leaving.set()
