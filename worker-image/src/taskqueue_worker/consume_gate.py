"""Whether this worker takes messages in: the switch that drains, the end of a drain, and SIGTERM turn."""

import asyncio


class ConsumeGate:
    """Open, shut for as long as a drain lasts, or shut for good."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.shut = asyncio.Event()
        self.leaving = asyncio.Event()
        self.news = asyncio.Event()
        """Set whenever something that shows in the worker's state may have changed; for who reports it to clear."""

    def close(self) -> None:
        """Take nothing more, until `reopen`."""
        self.open.clear()
        self.shut.set()
        self.news.set()

    def reopen(self) -> None:
        """Take messages again, unless the worker leaves."""
        if not self.leaving.is_set():
            self.shut.clear()
            self.open.set()
            self.news.set()

    def leave(self) -> None:
        """Take nothing more, ever."""
        self.close()
        self.leaving.set()
